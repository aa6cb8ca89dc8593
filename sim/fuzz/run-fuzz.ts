/**
 * Runs fuzz targets: valid inputs, mutants of them, and noise, from a seed.
 *
 * A mutant that goes a way nobody went before (another error code, another shape of value) becomes a parent of later ones.
 * Targets take turns by rounds, each with a generator of its own: with equal seeds a target gets equal inputs, whatever
 * others there are.
 */
import { ClustorError, messageOf } from '../../src/base/errors.ts';
import { createPrng, forkPrng, nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import { mutate, noise } from './mutate.ts';
import { BrokenRule, heldBytes, slowMs, type FuzzTarget, type Verdict } from './target.ts';

/** Mutants that are kept as parents, for each target. */
const parentsMax = 128;
/** Findings that are kept, for each target; the rest is counted. */
const findingsMax = 3;
/** Runs that are spent on making one input smaller. */
const shrinkRunsMax = 600;
/** Heap that one call may hold: lists grow without array buffers. */
const heapBytesMax = 64 * 1024 * 1024;
const heldBytesPerInputByte = 64;

/** An input that broke a rule. */
export interface Finding {
  readonly target: string;
  readonly kind: 'crash' | 'hang';
  readonly problem: string;
  /** Made as small as it goes. */
  readonly input: Uint8Array;
}

/** What became of a target's inputs. */
export interface TargetTally {
  inputs: number;
  accepted: number;
  refused: number;
}

/** What came out. */
export interface FuzzReport {
  readonly inputs: number;
  readonly crashes: number;
  readonly hangs: number;
  readonly targets: Readonly<Record<string, TargetTally>>;
  readonly findings: readonly Finding[];
}

/** How to run. */
export interface FuzzOptions {
  readonly targets: readonly FuzzTarget[];
  readonly seed: number;
  /** Ends after so many inputs, at the end of a target's turn. */
  readonly inputsMax: number;
  /** Asked after every input: true ends the run. */
  readonly isOver: () => boolean;
  readonly nowMs: () => number;
  /** Told before each input: a call that never ends is told by who watches. */
  readonly onInput?: (target: FuzzTarget, input: Uint8Array) => void;
}

interface Lane {
  readonly target: FuzzTarget;
  readonly random: PrngState;
  readonly parents: Uint8Array[];
  readonly waysSeen: Set<string>;
  readonly tally: TargetTally;
  readonly findings: Finding[];
  crashes: number;
  hangs: number;
}

/** See the file comment. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const lanes = options.targets.map((target): Lane => ({
    target,
    random: forkPrng(createPrng(options.seed), target.name),
    parents: [],
    waysSeen: new Set(),
    tally: { inputs: 0, accepted: 0, refused: 0 },
    findings: [],
    crashes: 0,
    hangs: 0,
  }));
  let inputs = 0;
  while (inputs < options.inputsMax && !options.isOver()) {
    for (const lane of lanes) {
      for (let count = 0; count < lane.target.inputsPerRound && !options.isOver(); count++) {
        // One after the other: a call is timed, and some share a simulated world.
        await oneInput(lane, options);
        inputs++;
      }
    }
  }
  return {
    inputs,
    crashes: lanes.reduce((sum, { crashes }) => sum + crashes, 0),
    hangs: lanes.reduce((sum, { hangs }) => sum + hangs, 0),
    targets: Object.fromEntries(lanes.map(({ target, tally }) => [target.name, tally])),
    findings: lanes.flatMap(({ findings }) => findings),
  };
}

/** What an input does, for a replay: a verdict, or the problem. */
export async function tryInput(
  target: FuzzTarget,
  input: Uint8Array,
  nowMs: () => number,
): Promise<Verdict | { readonly problem: string; readonly kind: Finding['kind'] }> {
  const outcome = await attempt(target, input, nowMs);
  if ('problem' in outcome) return { ...outcome, kind: 'crash' };
  if (await isSlow(target, input, { nowMs, firstMs: outcome.tookMs }))
    return { kind: 'hang', problem: `it took ${Math.round(outcome.tookMs)} ms` };
  return outcome.verdict;
}

async function oneInput(lane: Lane, options: FuzzOptions): Promise<void> {
  const { target, random, tally } = lane;
  const { input, isValid } = nextInput(lane);
  options.onInput?.(target, input);
  tally.inputs++;
  const outcome = await tryInput(target, input, options.nowMs);
  if ('problem' in outcome) {
    await found(lane, { ...outcome, input }, options);
    return;
  }
  tally[outcome.isAccepted ? 'accepted' : 'refused']++;
  if (isValid && !outcome.isAccepted)
    await found(
      lane,
      { kind: 'crash', problem: `a valid input is refused: ${outcome.shape}`, input },
      options,
    );
  const way = `${outcome.isAccepted ? '+' : '-'}${outcome.shape}`;
  if (lane.waysSeen.has(way) || lane.waysSeen.size >= 4 * parentsMax) return;
  lane.waysSeen.add(way);
  if (lane.parents.length < parentsMax) lane.parents.push(input);
  else lane.parents[nextBelow(random, parentsMax)] = input;
}

function nextInput({ target, random, parents }: Lane): {
  readonly input: Uint8Array;
  readonly isValid: boolean;
} {
  const draw = nextBelow(random, 16);
  if (draw === 0) return { input: target.sample(random), isValid: true };
  if (draw === 1) return { input: noise(random), isValid: false };
  const isOfMutant = parents.length > 0 && nextBelow(random, 2) === 0;
  const bytes = isOfMutant ? pick(random, parents) : target.sample(random);
  const input = mutate(random, { bytes, other: target.sample(random) }, target.words);
  if (target.reseal !== undefined && nextBelow(random, 2) === 0) target.reseal(input);
  return { input, isValid: false };
}

/** Keeps the first few findings of a target, each of another kind, made small. */
async function found(
  lane: Lane,
  finding: Omit<Finding, 'target'>,
  options: FuzzOptions,
): Promise<void> {
  if (finding.kind === 'crash') lane.crashes++;
  else lane.hangs++;
  const isKnown = lane.findings.some(({ problem }) => sortOf(problem) === sortOf(finding.problem));
  if (isKnown || lane.findings.length >= findingsMax) return;
  const isRefusal = finding.problem.startsWith('a valid input');
  const input =
    finding.kind === 'hang' || isRefusal
      ? finding.input
      : await smallest(finding, lane.target, options.nowMs);
  lane.findings.push({ ...finding, target: lane.target.name, input });
}

/** The kind of problem: its text without numbers and quoted parts. */
function sortOf(problem: string): string {
  return problem.replaceAll(/"[^"]*"|[0-9a-f-]*\d[0-9a-f-]*/g, '#').slice(0, 80);
}

/** Leaves out ever smaller parts, then clears bytes, as long as the same problem stays. */
async function smallest(
  { input, problem }: Pick<Finding, 'input' | 'problem'>,
  target: FuzzTarget,
  nowMs: () => number,
): Promise<Uint8Array> {
  let best = input;
  let runs = 0;
  const fails = async (bytes: Uint8Array): Promise<boolean> => {
    if (runs++ >= shrinkRunsMax) return false;
    const outcome = await attempt(target, bytes, nowMs);
    return 'problem' in outcome && sortOf(outcome.problem) === sortOf(problem);
  };
  for (let part = best.length; part >= 1; part = part === 1 ? 0 : (part + 1) >> 1) {
    for (let from = 0; from < best.length && runs < shrinkRunsMax;) {
      const shorter = Uint8Array.from([...best.subarray(0, from), ...best.subarray(from + part)]);
      if (await fails(shorter)) best = shorter;
      else from += part;
    }
  }
  for (let at = 0; at < best.length && runs < shrinkRunsMax; at++) {
    if (best[at] === 0) continue;
    const cleared = best.slice();
    cleared[at] = 0;
    if (await fails(cleared)) best = cleared;
  }
  return best;
}

type Outcome =
  | { readonly verdict: Verdict; readonly tookMs: number }
  | { readonly problem: string };

async function attempt(
  target: FuzzTarget,
  input: Uint8Array,
  nowMs: () => number,
): Promise<Outcome> {
  // A decoder may keep views of what it got; the finding must show what it was given.
  const given = input.slice();
  const before = process.memoryUsage();
  const startedMs = nowMs();
  let verdict: Verdict;
  try {
    const answer = target.run(given);
    verdict = answer instanceof Promise ? await answer : answer;
  } catch (error) {
    if (!(error instanceof ClustorError) || !target.codes.includes(error.code))
      return { problem: problemOf(error) };
    verdict = { isAccepted: false, shape: error.code };
  }
  const tookMs = nowMs() - startedMs;
  if (verdict.isAccepted && target.isSealed === true && !isSealed(target, input))
    return { problem: 'a checksum that does not fit is believed' };
  const after = process.memoryUsage();
  const allowed = (target.heldBytes ?? heldBytes) + input.length * heldBytesPerInputByte;
  const held = after.arrayBuffers - before.arrayBuffers;
  if (held > allowed) return { problem: `it holds ${held} bytes of buffers` };
  const heap = after.heapUsed - before.heapUsed;
  if (heap > heapBytesMax) return { problem: `it holds ${heap} bytes of heap` };
  return { verdict, tookMs };
}

function isSealed(target: FuzzTarget, input: Uint8Array): boolean {
  const sealed = input.slice();
  target.reseal?.(sealed);
  return sealed.every((value, at) => value === input[at]);
}

/** Slow three times is slow: once may be the collector, or another process. */
async function isSlow(
  target: FuzzTarget,
  input: Uint8Array,
  { nowMs, firstMs }: { readonly nowMs: () => number; readonly firstMs: number },
): Promise<boolean> {
  const allowedMs = target.slowMs ?? slowMs;
  let tookMs = firstMs;
  for (let again = 0; again < 2 && tookMs > allowedMs; again++) {
    const outcome = await attempt(target, input, nowMs);
    if ('problem' in outcome) return false;
    ({ tookMs } = outcome);
  }
  return tookMs > allowedMs;
}

function problemOf(error: unknown): string {
  if (error instanceof BrokenRule) return `broken rule: ${error.message}`;
  if (error instanceof ClustorError) return `undocumented ${error.code}: ${error.message}`;
  const name = error instanceof Error ? error.name : typeof error;
  return `${name}: ${messageOf(error)}`;
}
