/** Which states of a disk a crash at one instant may leave: all of them where they are few, else a choice. */
import { nextBelow, type PrngState } from '../../src/base/prng.ts';

const singlesMax = 24;
const randomSubsets = 16;

/** Positions of the parts that survive, one set a state; every subset where there are at most `subsetPartsMax` parts. */
export function survivingSets(
  parts: number,
  subsetPartsMax: number,
  random: PrngState,
): ReadonlySet<number>[] {
  if (parts <= subsetPartsMax)
    return Array.from({ length: 2 ** parts }, (_, bits) =>
      setOf(parts, (at) => (bits >> at) % 2 === 1),
    );
  const sets = [setOf(parts, () => false), setOf(parts, () => true)];
  const stride = Math.max(1, Math.ceil(parts / singlesMax));
  for (let only = 0; only < parts; only += stride) {
    sets.push(setOf(parts, (at) => at === only));
    sets.push(setOf(parts, (at) => at !== only));
    sets.push(setOf(parts, (at) => at < only));
  }
  for (let draw = 0; draw < randomSubsets; draw++)
    sets.push(setOf(parts, () => nextBelow(random, 2) === 0));
  return sets;
}

function setOf(parts: number, survives: (at: number) => boolean): ReadonlySet<number> {
  return new Set(Array.from({ length: parts }, (_, at) => at).filter(survives));
}
