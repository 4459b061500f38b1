// Every line that is marked must be refused on that line, with that text; no other line may be.
export const placeholder: { key: string } = { key: 1 } // ✗ Type 'number' is not assignable to type 'string'
export const nested: { a: { b: string } } = { ...{ a: { b: 1 } } } // ✗     Type 'number' is not assignable to type 'string'
