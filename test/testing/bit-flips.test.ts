/**
 * One bit flipped at bytes of a small data directory: harmless by the table of specification §5.3, or detected. A part of
 * `npm run crash-matrix -- --flips`, which takes every byte; so does `BIT_FLIP_STRIDE=1` here. The stride is prime, so that
 * all places within a block have their turn over the blocks; `BIT_FLIP_FIRST` begins elsewhere.
 */
import { expect, test } from 'vitest';

import { runFlips } from '../../sim/crash-matrix/flips.ts';

const stride = Number(process.env['BIT_FLIP_STRIDE'] ?? 419);
const first = Number(process.env['BIT_FLIP_FIRST'] ?? 0) % stride;

test.each([false, true])(
  'a flipped bit is harmless or detected, never served, and loses nothing in silence; encrypted: %s',
  async (isEncrypted) => {
    const { rows, findings, detectedBy } = await runFlips({ isEncrypted, stride, first });

    expect(findings).toEqual([]);
    const flips = rows.reduce((sum, row) => sum + row.flips, 0);
    const sum = (verdict: 'harmless' | 'detected'): number =>
      rows.reduce((total, { verdicts }) => total + verdicts[verdict], 0);
    expect(sum('harmless') + sum('detected')).toBe(flips);
    expect(flips).toBeGreaterThan(90_000 / stride);
    // Each of the three has something to find, or it is not looking.
    expect(sum('harmless')).toBeGreaterThan(0);
    for (const how of ['start: quarantine', 'read', 'scrub'])
      expect(detectedBy[how], how).toBeGreaterThan(0);
  },
  30_000 + 3_000_000 / stride,
);
