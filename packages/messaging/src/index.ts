export { ContiguousFront } from "./acknowledgement.ts";
export { connectLink, type Link, type LinkOptions, matches, PAYLOAD_LIMIT_BYTES } from "./mqtt-link.ts";
