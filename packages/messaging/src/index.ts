export { ContiguousFront } from "./acknowledgement.ts";
export { connectLink, type Link, type LinkOptions, matches, PAYLOAD_LIMIT_BYTES, type TlsMaterial } from "./mqtt-link.ts";
