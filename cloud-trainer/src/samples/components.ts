/**
 * Which items belong together when pairs of them do (union-find). In: how many items, then pairs. Out: groups of indices,
 * ordered by their smallest, the same in whatever order the pairs come.
 */
export type Components = { join: (a: number, b: number) => void; areJoined: (a: number, b: number) => boolean; groups: () => number[][] };

export function createComponents(count: number): Components {
  const parents = Int32Array.from({ length: count }, (_, i) => i);
  const rootOf = (i: number): number => {
    let at = i;
    while (parents[at] !== at) {
      parents[at] = parents[parents[at] as number] as number;
      at = parents[at] as number;
    }
    return at;
  };
  const join = (a: number, b: number): void => {
    const [first, second] = [rootOf(a), rootOf(b)];
    parents[Math.max(first, second)] = Math.min(first, second);
  };
  const groups = (): number[][] => {
    const byRoot = new Map<number, number[]>();
    for (const i of parents.keys()) {
      const group = byRoot.get(rootOf(i));
      if (group) group.push(i);
      else byRoot.set(i, [i]);
    }
    return [...byRoot.values()];
  };
  return { join, areJoined: (a, b) => rootOf(a) === rootOf(b), groups };
}
