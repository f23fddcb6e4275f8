/** A PLC that serves Modbus TCP on a free loopback port (jsmodbus), with the registers of a station's handshake. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { server as modbus } from "jsmodbus";

/** The station's trigger register, trigger coil, and the four registers it writes. */
export const PLC_MAP = { trigger: { register: 5 }, output: 20 } as const;
export const PLC_COIL = 3;

export type Plc = Awaited<ReturnType<typeof startPlc>>;

export async function startPlc(port = 0) {
  const sockets = new Set<Socket>();
  const net: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
  });
  const plc = new modbus.TCP(net, { coils: Buffer.alloc(8), holding: Buffer.alloc(128) });
  net.listen(port, "127.0.0.1");
  await once(net, "listening");
  const address = net.address();
  const register = (at: number) => plc.holding.readUInt16BE(at * 2);
  return {
    port: typeof address === "object" && address ? address.port : 0,
    /** Puts a part's id in front of the station. */
    trigger: (id: number) => plc.holding.writeUInt16BE(id, PLC_MAP.trigger.register * 2),
    coil: (isSet: boolean) => {
      const mask = 1 << PLC_COIL;
      plc.coils[0] = isSet ? (plc.coils[0] as number) | mask : (plc.coils[0] as number) & ~mask;
    },
    set: (at: number, value: number) => plc.holding.writeUInt16BE(value, at * 2),
    output: () => {
      const [id, result, ready, heartbeat] = [0, 1, 2, 3].map((i) => register(PLC_MAP.output + i)) as [number, number, number, number];
      return { id, result, ready, heartbeat };
    },
    /** Told when the agent has written registers, before it is told so itself. */
    onWrite: (listener: () => void) => {
      plc.on("postWriteMultipleRegisters", listener);
    },
    stop: async () => {
      const closed = new Promise((resolve) => net.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
