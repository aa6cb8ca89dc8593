import { describe, expect, test } from 'vitest';

import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  uuidFromBytes,
  uuidToBytes,
} from '../../src/base/ids.ts';

const refused = expect.objectContaining({ code: 'CLUSTOR_INVALID_ARGUMENT' }) as Error;

describe('ids', () => {
  test.each([term, logIndex, nodeId, replicaId])(
    'that are numbers are safe whole numbers',
    (make) => {
      expect([make(0), make(Number.MAX_SAFE_INTEGER)]).toEqual([0, Number.MAX_SAFE_INTEGER]);
      for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
        expect(() => make(wrong)).toThrow(refused);
    },
  );

  test.each([partitionId, clusterId, incarnation])(
    'that are UUIDs are kept as lower-case text',
    (make) => {
      expect(make('018C0D6C-9C11-7E9D-8000-86F5BB8C0001')).toBe(
        '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
      );
      for (const wrong of [
        '',
        '018c0d6c9c117e9d800086f5bb8c0001',
        '018c0d6c-9c11-7e9d-8000-86f5bb8c000g',
        ' 018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
      ]) {
        expect(() => make(wrong)).toThrow(refused);
      }
    },
  );

  test('go to 16 bytes and back', () => {
    const bytes = Uint8Array.from({ length: 20 }, (_, at) => (at * 37) & 0xff);
    const text = uuidFromBytes(bytes, 2);
    const back = new Uint8Array(20);
    uuidToBytes(text, back, 2);
    expect(back.subarray(2, 18)).toEqual(bytes.subarray(2, 18));
    expect([back[1], back[18]]).toEqual([0, 0]);
  });
});
