/**
 * Seeded pseudo-random numbers as plain data: cheap to clone, equal on every machine. Not for secrets.
 *
 * The generator keeps four 32-bit words and mixes them with additions, shifts and a counter (the "small fast counter"
 * family), which is plenty for jitter, fault plans and workloads.
 */
import { assert, present } from './assert.ts';

/** State of a generator; each word is a u32. */
export interface PrngState {
  a: number;
  b: number;
  c: number;
  d: number;
}

/** A generator for `seed`; equal seeds give equal sequences. */
export function createPrng(seed: number): PrngState {
  const state: PrngState = {
    a: seed >>> 0,
    b: Math.floor(seed / 0x1_0000_0000) >>> 0,
    c: 0x9e3779b9,
    d: 1,
  };
  for (let round = 0; round < 12; round++) nextUint32(state);
  return state;
}

/** The next u32. */
export function nextUint32(state: PrngState): number {
  const sum = (state.a + state.b + state.d) >>> 0;
  state.d = (state.d + 1) >>> 0;
  state.a = (state.b ^ (state.b >>> 9)) >>> 0;
  state.b = (state.c + (state.c << 3)) >>> 0;
  state.c = (((state.c << 21) | (state.c >>> 11)) + sum) >>> 0;
  return sum;
}

/** A whole number in [0, boundExclusive), each equally likely. */
export function nextBelow(state: PrngState, boundExclusive: number): number {
  assert(
    Number.isInteger(boundExclusive) && boundExclusive > 0 && boundExclusive <= 0x1_0000_0000,
    'a bound is a whole number from 1 to 2^32',
  );
  const limit = 0x1_0000_0000 - (0x1_0000_0000 % boundExclusive);
  let value = nextUint32(state);
  while (value >= limit) value = nextUint32(state);
  return value % boundExclusive;
}

/** A number in [0, 1). */
export function nextFloat(state: PrngState): number {
  return nextUint32(state) / 0x1_0000_0000;
}

/** A whole number in [min, maxInclusive]. */
export function nextBetween(state: PrngState, min: number, maxInclusive: number): number {
  assert(maxInclusive >= min, 'a range is not empty');
  return min + nextBelow(state, maxInclusive - min + 1);
}

/** An independent generator named `label`; the same parent state and label give the same child. */
export function forkPrng(state: PrngState, label: string): PrngState {
  let hash = nextUint32(state);
  for (let position = 0; position < label.length; position++)
    hash = Math.imul(hash ^ label.charCodeAt(position), 0x01000193) >>> 0;
  return createPrng(hash + nextUint32(state) * 0x1_0000);
}

/** One of the items. */
export function pick<T>(state: PrngState, items: readonly T[]): T {
  return present(items[nextBelow(state, items.length)], 'a pick is within the items');
}

/** Shuffles in place. */
export function shuffle<T>(state: PrngState, items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = nextBelow(state, last + 1);
    const kept = present(items[last], 'within the items');
    items[last] = present(items[other], 'within the items');
    items[other] = kept;
  }
  return items;
}
