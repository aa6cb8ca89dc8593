/** Messages out of streams of bytes: when they count as delivered, and when as lost. */
import { describe, expect, test } from 'vitest';

import { ByteWriter } from '../../src/base/bytes.ts';
import { partitionId } from '../../src/base/ids.ts';
import { encodeMessage } from '../../src/codec/wire-messages.ts';
import { pictureKinds } from '../../src/testing/report/message-fields.ts';
import { MessageRecorder } from '../../src/testing/report/message-recorder.ts';
import { messageSamples } from '../codec/message-samples.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const laneOf = (machine: number): number => machine - 1;

function ping(requestId: number): Uint8Array {
  const writer = new ByteWriter();
  encodeMessage({ kind: 'pingRequest', requestId, deadlineMs: 50, routingEpoch: 0 }, writer);
  return writer.take();
}

function openRecorder(): MessageRecorder {
  const recorder = new MessageRecorder((id) => (id === partition ? 1 : 2));
  recorder.open(0, 1, 2);
  recorder.open(1, 2, 1);
  return recorder;
}

describe('messages of a stream', () => {
  test('a message is delivered with its last byte', () => {
    const recorder = openRecorder();
    const bytes = ping(1);

    recorder.sent(0, bytes, 100);
    recorder.consumed(0, { byteCount: bytes.length - 1, fate: 0 }, 110);
    recorder.consumed(0, { byteCount: 1, fate: 0 }, 130);

    expect(recorder.finish(500, laneOf)).toMatchObject({
      at: [100],
      took: [30],
      fate: [0],
      from: [0],
      to: [1],
      bytes: [bytes.length],
      values: [1, 50],
    });
  });

  test('a message that spans two sends is one message, at the time of the second', () => {
    const recorder = openRecorder();
    const bytes = ping(2);

    recorder.sent(0, bytes.subarray(0, 7), 100);
    recorder.sent(0, bytes.subarray(7), 105);
    recorder.consumed(0, { byteCount: bytes.length, fate: 0 }, 110);

    expect(recorder.finish(500, laneOf)).toMatchObject({ at: [105], took: [5], fate: [0] });
  });

  test('what a break of the stream cuts off is lost at the break, what flew before it arrives', () => {
    const recorder = openRecorder();
    const bytes = ping(3);

    recorder.sent(0, bytes, 100);
    recorder.sent(0, bytes, 101);
    recorder.truncated(0, bytes.length + 5, 120);
    recorder.consumed(0, { byteCount: bytes.length + 5, fate: 0 }, 130);

    expect(recorder.finish(500, laneOf)).toMatchObject({ fate: [0, 1], took: [30, 19] });
  });

  test('what flies towards an end that closed, or that takes nothing more, is lost', () => {
    const recorder = openRecorder();
    const bytes = ping(4);

    recorder.sent(0, bytes, 100);
    recorder.consumed(0, { byteCount: bytes.length, fate: 1 }, 110);
    recorder.sent(0, bytes, 120);
    recorder.closed(1, 125);

    expect(recorder.finish(500, laneOf)).toMatchObject({ fate: [1, 1], took: [10, 5] });
  });

  test('what still flies at the end is under way, unless its sender closed', () => {
    const recorder = openRecorder();

    recorder.sent(0, ping(5), 100);
    recorder.sent(1, ping(6), 100);
    recorder.closed(1, 140);

    // The close of an end also ends what flies towards it.
    expect(recorder.finish(500, laneOf)).toMatchObject({ fate: [1, 1], took: [40, 40] });

    const other = openRecorder();
    other.sent(0, ping(7), 100);

    expect(other.finish(500, laneOf)).toMatchObject({ fate: [2], took: [400] });
  });

  test('bytes that are no frames end the reading of their stream only', () => {
    const recorder = openRecorder();

    recorder.sent(0, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0), 100);
    recorder.sent(0, ping(8), 101);
    recorder.sent(1, ping(9), 102);

    expect(recorder.finish(500, laneOf).at).toEqual([102]);
  });
});

describe('kinds of messages', () => {
  test('every message of the catalog has a kind, and as many values as its fields say', () => {
    for (const message of Object.values(messageSamples)) {
      const recorder = openRecorder();
      const writer = new ByteWriter();
      encodeMessage(message, writer);

      recorder.sent(0, writer.take(), 0);
      const { kind, values } = recorder.finish(0, laneOf);

      const found = pictureKinds[kind[0] ?? -1];
      expect(found?.name).toBe(message.kind);
      expect(values.every(Number.isSafeInteger), message.kind).toBe(true);
      expect(lengthOf(found?.fields ?? [], values), message.kind).toBe(values.length);
    }
  });
});

type Fields = (typeof pictureKinds)[number]['fields'];

/** How many of the values the fields take, lists with their elements. */
function lengthOf(fields: Fields, values: readonly number[], from = 0): number {
  let next = from;
  for (const { of } of fields) {
    const count = values[next++] ?? 0;
    for (let at = 0; of !== undefined && at < Math.min(count, 8); at++)
      next = lengthOf(of, values, next);
  }
  return next;
}
