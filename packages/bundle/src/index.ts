export { type CommandDoor, signCommand, verifyCommand } from "./command.ts";
export { createKey, type KeyList, type PrivateKey, publicKey, signKeyList, trustedKeys } from "./keys.ts";
export { type PackOptions, packBundle, sha256 } from "./pack.ts";
export { type UnpackOptions, unpackBundle, verifyFolder } from "./unpack.ts";
export { fingerprintOf, openSettings, packSettings, SETTINGS_FILE_LIMIT, type SettingsFile, signSettings } from "./settings.ts";
