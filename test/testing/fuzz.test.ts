/** The fuzzer finds nothing in a bounded run, meets both sides of every target, and finds what is wrong with a wrong one. */
import { describe, expect, test } from 'vitest';

import { runFuzz, tryInput, type FuzzReport } from '../../sim/fuzz/run-fuzz.ts';
import { accepted, refused, type FuzzTarget } from '../../sim/fuzz/target.ts';
import { fuzzTargets } from '../../sim/fuzz/targets.ts';
import { ClustorError } from '../../src/base/errors.ts';

const seed = 1;
const nowMs = (): number => performance.now();

function fuzz(targets: readonly FuzzTarget[], inputsMax: number): Promise<FuzzReport> {
  return runFuzz({ targets, seed, inputsMax, isOver: () => false, nowMs });
}

describe('fuzzing', () => {
  test('every decoder and recovery takes or refuses what it gets, and does both', async () => {
    const report = await fuzz(fuzzTargets, 20_000);

    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ crashes: 0, hangs: 0 });
    const names = fuzzTargets.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(Object.keys(report.targets)).toEqual(names);
    const dead = Object.entries(report.targets).filter(
      ([, tally]) => tally.accepted === 0 || tally.refused === 0,
    );
    expect(dead).toEqual([]);
  });

  test('gives a target the same inputs for the same seed, whatever other targets there are', async () => {
    const [frames, other] = fuzzTargets;
    const seen: string[] = [];
    const watched: FuzzTarget = {
      ...frames!,
      run: (input) => {
        seen.push(Buffer.from(input).toString('hex'));
        return frames!.run(input);
      },
    };

    await fuzz([watched], 100);
    const alone = seen.splice(0);
    await fuzz([watched, other!], 300);

    expect(seen.slice(0, alone.length)).toEqual(alone);
  });
});

describe('a wrong decoder', () => {
  const wrong = (run: FuzzTarget['run']): FuzzTarget => ({
    name: 'wrong',
    codes: ['CLUSTOR_INTEGRITY'],
    inputsPerRound: 10,
    sample: () => Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    run,
  });

  test.each<[string, FuzzTarget['run'], string]>([
    [
      'that throws what is no catalogued error',
      (input) =>
        spoil(input, () => {
          throw new RangeError('out');
        }),
      'RangeError: out',
    ],
    [
      'that throws a code that it does not name',
      (input) =>
        spoil(input, () => {
          throw new ClustorError('CLUSTOR_INTERNAL', 'no');
        }),
      'undocumented CLUSTOR_INTERNAL',
    ],
    [
      'that allocates what a length says',
      (input) =>
        spoil(input, () => {
          kept = new Uint8Array(3e6);
        }),
      'bytes of buffers',
    ],
    ['that refuses what is valid', () => refused('never'), 'a valid input is refused'],
  ])('%s is found', async (_name, run, problem) => {
    const { crashes, findings } = await fuzz([wrong(run)], 500);

    expect(crashes).toBeGreaterThan(0);
    expect(findings[0]?.problem).toContain(problem);
    expect(kept === undefined || kept.length > 0).toBe(true);
  });

  test('that is found shows the smallest input, which does it again', async () => {
    const target = wrong((input) =>
      spoil(input, () => {
        throw new RangeError('out');
      }),
    );

    const { findings } = await fuzz([target], 500);

    const [finding] = findings;
    expect(finding?.input).toEqual(Uint8Array.of(0xff));
    expect(await tryInput(target, finding!.input, nowMs)).toMatchObject({ kind: 'crash' });
  });

  test('that takes too long each time is found', async () => {
    const slow = wrong((input) =>
      spoil(input, () => {
        for (const endMs = nowMs() + 80; nowMs() < endMs;);
      }),
    );

    const { hangs, findings } = await fuzz([slow], 60);

    expect(hangs).toBeGreaterThan(0);
    expect(findings[0]?.kind).toBe('hang');
  });

  let kept: Uint8Array | undefined;

  /** Does the wrong thing when a byte is 0xff. */
  function spoil(input: Uint8Array, mistake: () => void): ReturnType<FuzzTarget['run']> {
    if (input.includes(0xff)) mistake();
    return accepted('any');
  }
});
