/**
 * The one error every part of kenpin throws on purpose.
 * `code` is stable kebab-case that programs may match; the message says what was expected, what came and what to do.
 */
export class KenpinError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "KenpinError";
    this.code = code;
  }
}

/** One line for people: the message of any thrown value, with its code where it has one. */
export function errorLine(error: unknown): string {
  if (error instanceof KenpinError) return `${error.message} [${error.code}]`;
  return error instanceof Error ? error.message : String(error);
}
