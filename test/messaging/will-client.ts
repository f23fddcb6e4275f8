/** A client to be killed: `node will-client.ts <broker url> <topic>` connects with a will, says "connected", and waits. */
import { connectLink } from "@kenpin/messaging";

const [url, topic] = process.argv.slice(2) as [string, string];
const link = connectLink({
  url,
  clientId: "to-be-killed",
  will: { topic, payload: { state: "offline" } },
  onState: (state) => {
    if (state === "connected") process.stdout.write("connected\n");
  },
});
process.once("SIGTERM", () => void link.close());
