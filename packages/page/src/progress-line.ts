/**
 * One line on stderr that says how far a long command is, once it has taken two seconds and then every second.
 * Out: nothing where it is quick. On a terminal the line is written over itself.
 */
const QUIET_MS = 2000;
const EVERY_MS = 1000;

export function progressLine(what: string): (done: number, of: number | null) => void {
  const startedAt = Date.now();
  let saidAt = startedAt + QUIET_MS - EVERY_MS;
  return (done, of) => {
    const now = Date.now();
    if (now - saidAt < EVERY_MS) return;
    saidAt = now;
    const left = of === null ? "" : `, ${Math.ceil(((now - startedAt) / 1000) * (of / Math.max(1, done) - 1))} s left`;
    const line = `${what}: ${done}${of === null ? "" : ` of ${of}`}${left}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}${done === of ? "\n" : ""}` : `${line}\n`);
  };
}
