import { describe, expect, test } from 'vitest';

import {
  negotiate,
  ownHandshake,
  wireExtensions,
  type Handshake,
} from '../../src/codec/handshake.ts';
import { bodyBytesMax } from '../../src/codec/wire-catalog.ts';
import { messageSamples } from './message-samples.ts';

const { clusterId, nodeId, bootId } = messageSamples.hello;
const own = ownHandshake({ clusterId, nodeId, bootId });

const side = (
  major: number,
  minor: number,
  forwardParseMaxMinor: number,
  rest: Partial<Handshake> = {},
): Handshake => ({
  ...own,
  catalogMajor: major,
  catalogMinor: minor,
  forwardParseMaxMinor,
  ...rest,
});

describe('a handshake', () => {
  test.each([
    { local: [1, 0, 0], remote: [1, 0, 0], accepted: true },
    { local: [1, 0, 1], remote: [1, 1, 1], accepted: true },
    { local: [1, 0, 1], remote: [1, 1, 0], accepted: true },
    { local: [1, 0, 0], remote: [1, 1, 1], accepted: false },
    { local: [1, 2, 2], remote: [1, 1, 1], accepted: false },
    { local: [1, 2, 2], remote: [1, 1, 2], accepted: true },
    { local: [1, 0, 9], remote: [2, 0, 9], accepted: false },
    { local: [2, 0, 0], remote: [1, 0, 0], accepted: false },
    { local: [1, 255, 255], remote: [1, 255, 255], accepted: true },
  ] satisfies {
    local: [number, number, number];
    remote: [number, number, number];
    accepted: boolean;
  }[])(
    '$local with $remote is accepted: $accepted (equal majors, each parses the other)',
    ({ local, remote, accepted }) => {
      const [here, there] = [side(...local), side(...remote)];
      for (const outcome of [negotiate(here, there), negotiate(there, here)]) {
        if (accepted) expect(outcome.kind).toBe('accepted');
        else
          expect(outcome).toMatchObject({ kind: 'refused', code: 'CLUSTOR_WIRE_CATALOG_MISMATCH' });
      }
    },
  );

  test('agrees on the smaller frame maximum', () => {
    const smaller = side(1, 0, 0, { bodyBytesMax: 100_000 });
    expect(negotiate(own, smaller)).toMatchObject({ bodyBytesMax: 100_000 });
    expect(negotiate(smaller, own)).toMatchObject({ bodyBytesMax: 100_000 });
    expect(negotiate(own, side(1, 0, 0, { bodyBytesMax: 0xffff_ffff }))).toMatchObject({
      bodyBytesMax,
    });
  });

  test.each([0, 1, 65_535])(
    'refuses a frame maximum of %i bytes, in which nothing useful fits',
    (tooSmall) => {
      const remote = side(1, 0, 0, { bodyBytesMax: tooSmall });
      expect(negotiate(own, remote)).toMatchObject({
        kind: 'refused',
        code: 'CLUSTOR_WIRE_BAD_VALUE',
      });
    },
  );

  test('switches an extension on only when both offer it', () => {
    const without = side(1, 0, 0, {
      extensions: wireExtensions.wideFrame | wireExtensions.experimental,
    });
    expect(negotiate(own, own)).toMatchObject({ forwardCompat: true });
    expect(negotiate(own, without)).toMatchObject({ forwardCompat: false });
    expect(negotiate(without, own)).toMatchObject({ forwardCompat: false });
    expect(negotiate(own, side(1, 0, 0, { extensions: 0xffff_ffff }))).toMatchObject({
      forwardCompat: true,
    });
  });

  test('knows extensions as bits that do not overlap', () => {
    expect(Object.values(wireExtensions)).toEqual([1, 2, 4, 8, 16]);
  });
});
