/**
 * The embedded MQTT broker (aedes, MQTT 3.1.1) as a process of its own, so that it can be killed like a real one.
 * `node broker.ts <port>`; port 0 takes a free one. Prints "listening <port>" once it takes connections.
 * It keeps nothing on disk: what must survive it lives in the agent's outbox and the hub's store.
 */
import { createServer } from "node:net";
import { Aedes } from "aedes";

const port = Number(process.argv[2] ?? 0);
const broker = await Aedes.createBroker({ concurrency: 100, queueLimit: 1000 });
const server = createServer(broker.handle);
server.on("error", (error: NodeJS.ErrnoException) => {
  const why = error.code === "EADDRINUSE" ? `port ${port} is taken; stop the other broker or pass --broker <url> to use it` : error.message;
  process.stderr.write(`broker: ${why}\n`);
  process.exit(1);
});
server.listen(port, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`listening ${typeof address === "object" ? address?.port : port}\n`);
});
// Ends with its parent, however that ended.
process.stdin.on("end", () => process.exit(0)).resume();
