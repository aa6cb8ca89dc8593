/**
 * `npm run bench:leaves -- [--rounds N] [--json]`: what the hash of a Merkle leaf takes, by hash and by the size of an entry. The hashes take
 * turns; each figure is the median of N rounds, in microseconds. The last line is JSON.
 */
import { performance } from 'node:perf_hooks';

import { blake3 as nativeBlake3 } from '@napi-rs/blake-hash';
import { createBLAKE3 } from 'hash-wasm';

import { toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { blake3, loadBlake3 } from '../src/security/blake3.ts';
import { nodeCryptography } from '../src/security/node-cryptography.ts';
import { printTable } from './setup/table.ts';

const usage = 'npm run bench:leaves -- [--rounds N] [--json]';
const values = toolArguments(usage, {
  rounds: { type: 'string', default: '9' },
  json: { type: 'boolean', default: false },
});
const rounds = wholeNumber('rounds', values.rounds, usage);
/** One hash on one size, milliseconds. */
const turnMs = 40;
const sizes = [64, 256, 1024, 4096, 16_384, 65_536, 1_048_576];

await loadBlake3();
const wasm = await createBLAKE3();
const hashes: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  sha256: (bytes) => nodeCryptography.sha256(bytes),
  blake3,
  blake3Wasm: (bytes) => wasm.init().update(bytes).digest('binary'),
  blake3Native: (bytes) => nativeBlake3(Buffer.from(bytes.buffer)),
};
const rows = sizes.map((size) => ({ size, ...mediansOf(new Uint8Array(size).fill(7)) }));
if (!values.json) {
  const names = Object.keys(hashes);
  printTable('microseconds per leaf', [
    ['bytes', ...names],
    ...rows.map((row) => Object.values(row).map((value) => String(value))),
  ]);
}
process.stdout.write(`${JSON.stringify({ rounds, microseconds: rows })}\n`);

function mediansOf(bytes: Uint8Array): Readonly<Record<string, number>> {
  const taken = new Map(Object.keys(hashes).map((name): [string, number[]] => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const [name, hash] of Object.entries(hashes))
      taken.get(name)?.push(microsecondsOf(hash, bytes));
  return Object.fromEntries(
    [...taken].map(([name, all]) => {
      const median = all.toSorted((left, right) => left - right)[all.length >> 1] ?? 0;
      return [name, Math.round(median * 100) / 100];
    }),
  );
}

function microsecondsOf(hash: (bytes: Uint8Array) => unknown, bytes: Uint8Array): number {
  const startedMs = performance.now();
  let count = 0;
  while (performance.now() - startedMs < turnMs) {
    for (let times = 0; times < 8; times++) hash(bytes);
    count += 8;
  }
  return ((performance.now() - startedMs) * 1000) / count;
}
