export { assetRoutes } from "./assets.ts";
export { readJson, readLimited } from "./body.ts";
export { startEvents } from "./events.ts";
export { bearerToken, hostGuard, isLoopback, sameOrigin, securityHeaders } from "./guard.ts";
export { type LoginTexts, loginPage } from "./login-page.ts";
export { Refusal } from "./refusal.ts";
export { digestOf, freshSecret, keptToken, sameDigest } from "./secrets.ts";
export { answerFaults, listen } from "./server.ts";
export { enter, LINK_LIFE_MS, leave, readLoginForm, SESSION_LIFE_MS, signedInBy } from "./session.ts";
