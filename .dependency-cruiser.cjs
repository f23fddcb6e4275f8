/** Who may import whom. Types count too: a contract that leaks through a type is still a leak. */
const APPS = "^(edge-agent|cloud-trainer|node-red-nodes)/";

/** A workspace package may reach only the listed ones. */
function only(from, allowed) {
  const list = [from, ...allowed].join("|");
  return {
    name: `${from}-reaches-only-${allowed.join("-") || "itself"}`,
    severity: "error",
    from: { path: `^packages/${from}/` },
    to: { path: "^packages/", pathNot: `^packages/(${list})/` },
  };
}

/** A heavy or native dependency has one door. */
function door(name, allowed) {
  return {
    name: `one-door-for-${name.replace(/[^a-z]+/g, "-")}`,
    severity: "error",
    from: { path: "^(packages|edge-agent|cloud-trainer|node-red-nodes)/", pathNot: allowed },
    to: { path: `node_modules/${name}(/|$)` },
  };
}

const CLOUD_STAGES = ["samples", "label", "train", "distill", "quantize", "evaluate", "report", "bundle", "rollout", "serve", "import"];
const EDGE_STAGES = ["capture", "inspect", "decide", "line", "record", "report", "samples", "update", "watch", "operate"];

function siblings(app, stages) {
  return stages.map((stage) => ({
    name: `${app}-${stage}-knows-no-sibling-stage`,
    severity: "error",
    from: { path: `^${app}/src/${stage}/` },
    to: { path: `^${app}/src/(${stages.filter((other) => other !== stage).join("|")})/` },
  }));
}

module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "no-unresolved", severity: "error", from: {}, to: { couldNotResolve: true } },
    only("schema", []),
    only("stats", []),
    only("clip", ["schema"]),
    only("onnx", ["schema", "clip"]),
    only("bundle", ["schema"]),
    only("messaging", ["schema"]),
    only("client", ["schema"]),
    only("page", ["schema"]),
    only("inspector", ["schema", "clip", "stats"]),
    only("playground", ["schema", "messaging", "client", "stats"]),
    { name: "packages-know-no-app", severity: "error", from: { path: "^packages/" }, to: { path: APPS } },
    {
      name: "agent-knows-no-trainer",
      severity: "error",
      from: { path: "^edge-agent/" },
      to: { path: "^(cloud-trainer|packages/playground)/" },
    },
    {
      name: "trainer-knows-no-agent",
      severity: "error",
      from: { path: "^cloud-trainer/" },
      to: { path: "^(edge-agent|packages/playground)/" },
    },
    {
      name: "node-red-nodes-reach-only-schema-messaging-client",
      severity: "error",
      from: { path: "^node-red-nodes/" },
      to: { path: "^(edge-agent|cloud-trainer|packages/(?!schema/|messaging/|client/))" },
    },
    door("onnxruntime-node", "^packages/inspector/src/session\\.ts$"),
    door("better-sqlite3", "^(edge-agent|cloud-trainer)/src/[a-z/]*database\\.ts$"),
    door(
      "sharp",
      "^(packages/clip/src/.*image[a-z-]*\\.ts|packages/inspector/src/heat-map\\.ts|edge-agent/src/(capture|samples)/.*|cloud-trainer/src/samples/.*)$",
    ),
    door("mqtt", "^packages/messaging/src/mqtt-link\\.ts$"),
    door("@hono/node-server", "^packages/page/src/server\\.ts$"),
    door("@tensorflow", "^cloud-trainer/src/train/engines/tfjs/"),
    ...siblings("cloud-trainer", CLOUD_STAGES),
    ...siblings("edge-agent", EDGE_STAGES),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)dist(-web)?/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { conditionNames: ["kenpin-source", "import", "node", "default", "types"], exportsFields: ["exports"] },
  },
};
