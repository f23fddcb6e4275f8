/**
 * Which item a draw takes: every item once an epoch, in an order of its own each time. A function of the seed and the place
 * alone, so that a run that resumes, or looks again, finds the same items.
 */
import { randomAt } from "@kenpin/stats";

export function shuffledEpochs(count: number, seed: number): (place: number) => number {
  let [epoch, order]: [number, number[]] = [-1, []];
  return (place) => {
    const wanted = Math.floor(place / count);
    if (wanted !== epoch) {
      epoch = wanted;
      order = randomAt(seed, epoch).shuffle(Array.from({ length: count }, (_, i) => i));
    }
    return order[place % count] as number;
  };
}
