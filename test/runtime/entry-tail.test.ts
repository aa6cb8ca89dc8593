/** The newest entries in memory are what was put there, whatever is dropped from either end. */
import { expect, test } from 'vitest';

import { logIndex, partitionId } from '../../src/base/ids.ts';
import { createPrng, nextBelow, nextBetween } from '../../src/base/prng.ts';
import { frameIndex, frameTotalBytes } from '../../src/codec/entry-frame.ts';
import { EntryTail } from '../../src/runtime/entry-tail.ts';
import { frames } from '../storage/model-frames.ts';

const id = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const bytesMax = 8_000;

test('batches go in front beyond the bound, behind when they are superseded, and when nothing is to be kept', () => {
  const state = createPrng(3);
  const tail = new EntryTail(bytesMax);
  /** Bytes of each entry, and the first and the last index of its batch. */
  let model: { index: number; bytes: number; last: number }[] = [];
  const dropFront = (keepAbove: number, isEnough: () => boolean): void => {
    while (!isEnough() && model[0] !== undefined && model[0].last <= keepAbove) {
      const { last } = model[0];
      model = model.filter(({ index }) => index > last);
    }
  };
  const sum = (): number => model.reduce((total, { bytes }) => total + bytes, 0);
  let next = 1;
  for (let step = 0; step < 4_000; step++) {
    const draw = nextBelow(state, 100);
    if (draw < 70) {
      const count = nextBetween(state, 1, 4);
      const entries = Array.from({ length: count }, (_, at) => ({
        index: next + at,
        term: 1,
        payload: 'x'.repeat(nextBelow(state, 60)),
      }));
      const batch = frames(id, entries);
      tail.push(batch);
      for (let at = 0; at < batch.bytes.length; at += frameTotalBytes(batch.bytes, at))
        model.push({
          index: frameIndex(batch.bytes, at),
          bytes: frameTotalBytes(batch.bytes, at),
          last: batch.lastIndex,
        });
      next += count;
    } else if (draw < 90) {
      const keepAbove = next - nextBelow(state, 250);
      tail.trim(logIndex(Math.max(0, keepAbove)));
      dropFront(keepAbove, () => sum() <= bytesMax);
    } else if (draw < 98) {
      next = Math.max(model[0]?.index ?? next, next - nextBelow(state, 5));
      tail.truncateFrom(logIndex(next));
      model = model
        .filter(({ index }) => index < next)
        .map((row) => ({ ...row, last: Math.min(row.last, next - 1) }));
    } else {
      const keepAbove = Math.max(0, next - nextBelow(state, 20));
      tail.rest(logIndex(keepAbove));
      dropFront(keepAbove, () => false);
    }

    expect(tail.bytesHeld).toBe(sum());
    expect(tail.firstIndex).toBe(model[0]?.index);
    const from = nextBetween(state, Math.max(1, next - 60), next);
    const views = tail.slice(logIndex(from), logIndex(next - 1));
    const isHeld = from === next || (model[0] !== undefined && model[0].index <= from);
    expect(views?.reduce((total, view) => total + view.length, 0)).toBe(
      isHeld
        ? model.filter(({ index }) => index >= from).reduce((total, { bytes }) => total + bytes, 0)
        : undefined,
    );
    if (views?.[0] !== undefined) expect(frameIndex(views[0], 0)).toBe(from);
  }
});
