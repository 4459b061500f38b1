/** A Markdown table, padded so that it can be read as it is; the first column is text, the others are numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const rule = widths.map((width, column) => '-'.repeat(width - 1) + (column === 0 ? '-' : ':'))
  return [head, rule, ...rows].map((row) => printed(row, widths)).join('\n')
}

function printed(row: readonly string[], widths: readonly number[]): string {
  const cells = widths.map((width, column) => {
    const cell = row[column] ?? ''
    return column === 0 ? cell.padEnd(width) : cell.padStart(width)
  })
  return `| ${cells.join(' | ')} |`
}
