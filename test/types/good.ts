// Programs that must compile, on every compiler of test/types.test.ts.
export const placeholder: string = 'good'
