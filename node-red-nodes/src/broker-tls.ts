/**
 * What Node-RED's own tls-config node says of the broker: whom to trust, and who this client is. A server that is not verified could be
 * anybody, so such a configuration is refused, and a key behind a passphrase cannot be used. Out: what a connection is made with, PEM.
 */
import type { TlsMaterial } from "@kenpin/messaging";
import { KenpinError } from "@kenpin/schema";
import type { RedNode } from "./node-red.ts";

/** As the tls-config node fills in what a connection is made with. */
type TlsOptions = { ca?: unknown; cert?: unknown; key?: unknown; passphrase?: string; rejectUnauthorized?: boolean };
type TlsConfigNode = RedNode & { addTLSOptions?: (options: TlsOptions) => void };

export function tlsMaterial(node: TlsConfigNode | null): () => TlsMaterial {
  if (!node?.addTLSOptions)
    throw new KenpinError("link-incomplete", "the link's TLS configuration is not there; choose another one, or none");
  const options: TlsOptions = {};
  node.addTLSOptions(options);
  if (options.rejectUnauthorized === false) {
    throw new KenpinError(
      "tls-unverified",
      "the link's TLS configuration does not verify the server; let it, and give it the broker's authority",
    );
  }
  if (options.passphrase) throw new KenpinError("tls-passphrase", "the link's TLS key has a passphrase; give it one without");
  const { ca, cert, key } = options;
  const material = { ca: pem(ca), cert: pem(cert), key: pem(key) };
  return () => material;
}

/** Files come as bytes, what was uploaded as text. */
function pem(value: unknown): string | undefined {
  return value === undefined || value === "" ? undefined : String(value);
}
