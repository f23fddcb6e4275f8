/** HTTP of the set-up, behind the page's sign-in: each step of the wizard is one call, and long work tells its progress as events. */
import { parseAtDoor, PictureLabel, SaveRequest, SayRequest, Sha256, TakeRequest } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import { type Door, readJson, readLimited, Refusal } from "../page-door.ts";
import type { Recent } from "../recent.ts";
import { PICTURE_LIMIT_BYTES } from "./picture-folder.ts";
import type { Wizard } from "./wizard.ts";
import { suggestWords } from "./word-suggestions.ts";

const TEXT_LIMIT = 100;

export function wizardRoutes({ wizard, recent, folder }: { wizard: Wizard; recent: Recent; folder: string | null }): Hono<Door> {
  const routes = new Hono<Door>();

  routes.get("/v1/setup", async (c) => c.json(await wizard.state()));

  routes.delete("/v1/setup", async (c) => {
    await wizard.clear();
    return c.json(await wizard.state());
  });

  routes.post("/v1/setup/pictures", async (c) => {
    if (!/^(image\/|application\/octet-stream)/.test(c.req.header("content-type") ?? "")) {
      throw new Refusal(415, "picture-expected", "a picture is taken with its own content type, such as image/jpeg");
    }
    const bytes = await readLimited(c.req.raw.body, PICTURE_LIMIT_BYTES, "the picture");
    const { label } = parseAtDoor(PictureLabel, { label: c.req.query("label") ?? null }, "the query");
    return c.json(await wizard.add(bytes, { name: c.req.query("name") ?? "", from: "upload", label }), 201);
  });

  routes.post("/v1/setup/folder", async (c) => {
    if (folder === null) throw new Refusal(404, "no-folder", "the configuration names no folder as page.pictures");
    await wizard.addFolder(folder);
    return c.json(await wizard.state());
  });

  routes.post("/v1/setup/take", async (c) => {
    const { camera, label } = await readJson(c, TakeRequest, "what to take");
    const newest = recent.newestOf(camera);
    if (!newest) throw new Refusal(409, "no-frame-yet", `camera ${camera} has delivered no frame since the agent started`);
    return c.json(await wizard.add(newest.bytes, { name: camera, from: "camera", label }), 201);
  });

  routes.put("/v1/setup/pictures/:sha256", async (c) => {
    const { label } = await readJson(c, PictureLabel, "the label");
    await wizard.label(shaOf(c), label);
    return c.json({});
  });

  routes.delete("/v1/setup/pictures/:sha256", async (c) => {
    await wizard.remove(shaOf(c));
    return c.json({});
  });

  routes.get("/v1/setup/words", (c) => c.json(suggestWords((c.req.query("text") ?? "").slice(0, TEXT_LIMIT))));

  routes.put("/v1/setup/words", async (c) => c.json(await wizard.say(await readJson(c, SayRequest, "the words"))));

  routes.post("/v1/setup/look", async (c) => {
    wizard.look();
    return c.json(await wizard.state(), 202);
  });

  routes.get("/v1/setup/curve", async (c) => c.json(await wizard.curve(c.req.query("asTheyCame") === "true")));

  routes.post("/v1/setup/save", async (c) => c.json(await wizard.save(await readJson(c, SaveRequest, "what to save")), 201));

  return routes;
}

function shaOf(c: Context<Door>): string {
  const sha256 = Sha256.safeParse(c.req.param("sha256"));
  if (!sha256.success) throw new Refusal(404, "picture-unknown", "pictures are named by their sha256");
  return sha256.data;
}
