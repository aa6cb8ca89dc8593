/** An operator who works with the command line: each step is a process of `clustor`, with an operator's certificate. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

import { issueClientCertificate } from 'clustor';

import { commandPath, writeCertificate, type ChaosCluster } from './chaos-cluster.ts';

/** What a command printed, and how long it took. */
export interface CommandRun {
  readonly words: readonly string[];
  readonly exitCode: number;
  /** Its JSON result; of a failed command the error. */
  readonly answer: Readonly<Record<string, unknown>>;
  readonly startMs: number;
  readonly endMs: number;
}

const lifetimeMs = 86_400_000;

/** See the file comment. */
export class ChaosOperator {
  readonly #connection: readonly string[];

  private constructor(connection: readonly string[]) {
    this.#connection = connection;
  }

  /** Issues the operator's certificate. */
  static async create(cluster: ChaosCluster): Promise<ChaosOperator> {
    const folder = join(cluster.directory, 'operator');
    const issued = await issueClientCertificate({
      authority: cluster.authority,
      clusterId: cluster.clusterId,
      role: 'operator',
      name: 'chaos-operator',
      wallMs: Date.now(),
      lifetimeMs,
    });
    writeCertificate(folder, issued, cluster.authority);
    return new ChaosOperator([
      ...['--addresses', [...cluster.addresses.values()].join(',')],
      ...['--certificate', join(folder, 'certificate.pem')],
      ...['--private-key', join(folder, 'private-key.pem')],
      ...['--trust-bundle', join(folder, 'trust-bundle.pem')],
      '--json',
    ]);
  }

  /** Runs a command to its end. */
  async run(words: readonly string[]): Promise<CommandRun> {
    const startMs = performance.now();
    const child = spawn(process.execPath, [commandPath, ...words, ...this.#connection], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const exitCode = await new Promise<number>((resolve) => {
      child.once('close', (code) => {
        resolve(code ?? 1);
      });
    });
    return { words, exitCode, answer: lastJson(text), startMs, endMs: performance.now() };
  }

  /** Runs a command that must succeed. @throws Error with what it printed. */
  async must(words: readonly string[]): Promise<CommandRun> {
    const run = await this.run(words);
    if (run.exitCode !== 0)
      throw new Error(`clustor ${words.join(' ')} failed: ${JSON.stringify(run.answer)}`);
    return run;
  }
}

function lastJson(text: string): Readonly<Record<string, unknown>> {
  const line = text
    .trimEnd()
    .split('\n')
    .findLast((candidate) => candidate.startsWith('{'));
  return line === undefined ? { text } : (JSON.parse(line) as Readonly<Record<string, unknown>>);
}
