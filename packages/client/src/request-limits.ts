/**
 * A request that ends with its time or with its caller's signal, whichever is first. Nothing of it is held once it is done: a
 * program that asks every few seconds for months, each time with the same signal, must not gather what signals remember of each other.
 */
export type RequestLimits = { timeoutMs: number; signal?: AbortSignal | undefined };

export async function within<T>({ timeoutMs, signal }: RequestLimits, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const request = new AbortController();
  const end = () => request.abort(signal?.reason);
  const timer = setTimeout(() => request.abort(new DOMException(`no answer within ${timeoutMs} ms`, "TimeoutError")), timeoutMs);
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    return await ask(request.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}
