/** No flush crosses a change of the durability mode (specification §5.2). */
import { expect, test } from 'vitest';
import { partitionId, type LogIndex, type Term } from '../../src/base/ids.ts';
import { frameIndex, frameTotalBytes } from '../../src/codec/entry-frame.ts';
import { FrameBuilder } from '../../src/runtime/frame-builder.ts';
import { fenceParts } from '../../src/storage/append-parts.ts';
import type { PendingAppend } from '../../src/storage/partition-log.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

function append(firstIndex: number, count: number, fences: readonly number[]): PendingAppend {
  const place = { term: 1 as Term, firstIndex: firstIndex as LogIndex };
  return {
    log: undefined as never,
    appendSequence: 7,
    done: undefined,
    batch: {
      firstIndex: firstIndex as LogIndex,
      lastIndex: (firstIndex + count - 1) as LogIndex,
      lastTerm: 1 as Term,
      bytes: new FrameBuilder(partition).noOps(place, count),
      fences: fences as readonly LogIndex[],
    },
  };
}

function indexesOf({ batch }: PendingAppend): number[] {
  const indexes: number[] = [];
  for (let at = 0; at < batch.bytes.length; at += frameTotalBytes(batch.bytes, at))
    indexes.push(frameIndex(batch.bytes, at));
  return indexes;
}

test.each([
  [[12], [[10, 11], [12], [13, 14]]],
  [[10], [[10], [11, 12, 13, 14]]],
  [[14], [[10, 11, 12, 13], [14]]],
  [
    [11, 12],
    [[10], [11], [12], [13, 14]],
  ],
])('an append of entries 10 to 14 with fences at %o is cut there', (fences, expected) => {
  const parts = fenceParts(append(10, 5, fences));

  expect(parts.map(indexesOf)).toEqual(expected);
  expect(
    parts.filter((part) => part.isFence === true).map(({ batch }) => batch.firstIndex),
  ).toEqual(fences);
  expect(parts.map(({ batch }) => [batch.firstIndex, batch.lastIndex])).toEqual(
    expected.map((part) => [part[0], part[part.length - 1]]),
  );
});
