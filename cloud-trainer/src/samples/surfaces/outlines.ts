/** Outlines of parts as signed distances in pixels: negative inside. */
export const OUTLINES = ["disc", "ring", "square", "hexagon", "cross", "bar"] as const;
export type Outline = (typeof OUTLINES)[number];

export function outlineDistance(outline: Outline, u: number, v: number, radius: number): number {
  const [au, av] = [Math.abs(u), Math.abs(v)];
  switch (outline) {
    case "disc":
      return Math.hypot(u, v) - radius;
    case "ring":
      return Math.max(Math.hypot(u, v) - radius, radius * 0.45 - Math.hypot(u, v));
    case "square":
      return Math.max(au, av) - radius * 0.85;
    case "hexagon":
      return Math.max(au * 0.866 + av * 0.5, av) - radius * 0.9;
    case "cross":
      return Math.min(Math.max(au - radius, av - radius * 0.35), Math.max(av - radius, au - radius * 0.35));
    case "bar":
      return Math.max(au - radius, av - radius * 0.45);
  }
}
