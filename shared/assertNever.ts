/** Makes a switch total: it does not compile while a case is missing, and throws if a value came in unparsed. */
export function assertNever(value: never): never {
  throw new Error(`no such case: ${JSON.stringify(value)}`);
}
