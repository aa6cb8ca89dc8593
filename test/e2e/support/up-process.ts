/** `clustor up` as a user starts it: a process with nodes below it, its event lines, and ways to end it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { onTestFinished } from 'vitest';

const root = resolve(import.meta.dirname, '..', '..', '..');
const program = join(root, 'dist', 'cli', 'main.js');
const waitMsMax = 30_000;

/** A node as `ready` and `nodeReady` name it. */
export interface UpNode {
  readonly nodeId: number;
  readonly pid: number;
  readonly address: string;
  readonly product: Readonly<Record<string, string>>;
}

/** A line that `up --json` prints. */
export type UpEvent =
  | {
      readonly event: 'ready';
      readonly nodes: readonly UpNode[];
      readonly clientCertificate: Readonly<Record<string, string>>;
    }
  | { readonly event: 'nodeReady'; readonly node: UpNode }
  | { readonly event: 'nodeExited'; readonly nodeId: number; readonly pid: number }
  | { readonly event: 'nodeNotStarted'; readonly nodeId: number; readonly code: string }
  | { readonly event: 'stopped' };

type EventOf<Name extends UpEvent['event']> = Extract<UpEvent, { readonly event: Name }>;

/** How a process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A folder that is gone when the test has finished. */
export function scratchDirectory(name: string): string {
  return removedDirectory(name, onTestFinished);
}

/** A folder that is gone after what `atEnd` waits for. */
export function removedDirectory(name: string, atEnd: (remove: () => void) => void): string {
  const directory = mkdtempSync(join(tmpdir(), `clustor-${name}-`));
  atEnd(() => {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  return directory;
}

/** See the file comment. */
export class UpProcess {
  readonly events: UpEvent[] = [];
  readonly exited: Promise<ProcessEnd>;
  /** What it printed on standard error. */
  errorText = '';
  readonly #child: ChildProcess;
  readonly #listeners = new Set<() => void>();

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.exited = new Promise((done) => {
      child.once('exit', (code, signal) => {
        done({ code, signal });
        this.#changed();
      });
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errorText += text;
    });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      this.events.push(JSON.parse(line) as UpEvent);
      this.#changed();
    });
  }

  /** Starts `up` on free ports; it is stopped when the test has finished. */
  static start(directory: string, words: readonly string[] = []): UpProcess {
    if (!existsSync(program)) throw new Error('the package is not built: npm run build');
    const child = spawn(
      process.execPath,
      [program, 'up', '--dir', directory, '--ports', 'auto', '--json', ...words],
      { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    );
    const up = new UpProcess(child);
    onTestFinished(async () => {
      await up.stop();
    });
    return up;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The nodes as they run now, by what was printed so far. */
  get nodes(): readonly UpNode[] {
    const nodes = new Map<number, UpNode>();
    for (const event of this.events) {
      if (event.event === 'ready') for (const node of event.nodes) nodes.set(node.nodeId, node);
      if (event.event === 'nodeReady') nodes.set(event.node.nodeId, event.node);
    }
    return [...nodes.values()].sort((left, right) => left.nodeId - right.nodeId);
  }

  /** Events of a kind, from the `from`-th event on. */
  of<Name extends UpEvent['event']>(name: Name, from = 0): readonly EventOf<Name>[] {
    return this.events.slice(from).filter((event): event is EventOf<Name> => event.event === name);
  }

  /** Resolves once the condition holds; looks again after each event. */
  async until(what: string, condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((done, reject) => {
      const finish = (act: () => void): void => {
        clearTimeout(timer);
        this.#listeners.delete(look);
        act();
      };
      const look = (): void => {
        if (condition()) finish(done);
        else if (this.#child.exitCode !== null) finish(() => reject(this.#failure(what)));
      };
      const timer = setTimeout(() => {
        finish(() => reject(this.#failure(what)));
      }, waitMsMax);
      this.#listeners.add(look);
    });
  }

  /** Resolves with the nodes once all serve. */
  async ready(): Promise<readonly UpNode[]> {
    await this.until('ready', () => this.of('ready').length > 0);
    return this.nodes;
  }

  /** Sends a signal to `up` itself. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ctrl-C, and how it ended. */
  async stop(): Promise<ProcessEnd> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal('SIGINT');
    return this.exited;
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #failure(what: string): Error {
    return new Error(`in vain waited for ${what}: ${this.errorText.slice(-2000)}`);
  }
}

/** Whether a process exists; one that has ended and only waits for its parent to notice does not count. */
export function isAlive(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return !/^State:\s+[ZX]/m.test(status);
  } catch {
    return false;
  }
}

/** Waits for a condition of the world outside. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 15_000,
): Promise<void> {
  for (const endMs = performance.now() + withinMs; !(await condition());) {
    if (performance.now() > endMs) throw new Error(`in vain waited until ${what}`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}
