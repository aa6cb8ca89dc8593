/** Runs the node processes of a local cluster: starts them, restarts what dies, stops them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { ClustorError, messageOf } from '../base/errors.ts';
import { lastWordsOf } from './node-log.ts';

/** A node process that is up. */
export interface ReadyNode {
  readonly nodeId: number;
  readonly pid: number;
  readonly address: string;
  /** Where its product listens, by protocol. */
  readonly product: Readonly<Record<string, string>>;
}

/** What happens to node processes. */
export type NodeEvent =
  | { readonly event: 'nodeReady'; readonly node: ReadyNode }
  | {
      readonly event: 'nodeExited';
      readonly nodeId: number;
      readonly pid: number;
      readonly code: number | undefined;
      readonly signal: string | undefined;
      /** The last thing that it said in its log. */
      readonly lastWords: string | undefined;
    }
  | {
      /** No process could be made of it; told once until there is one again. */
      readonly event: 'nodeNotStarted';
      readonly nodeId: number;
      readonly error: ClustorError;
    };

/** How a node process is started. */
export interface NodeToRun {
  readonly nodeId: number;
  readonly configPath: string;
  readonly logPath: string;
}

/** Options of {@link Supervisor}. */
export interface SupervisorOptions {
  /** The program whose command `node` runs one. */
  readonly programPath: string;
  readonly nodes: readonly NodeToRun[];
  readonly isRestarting: boolean;
  readonly onEvent: (event: NodeEvent) => void;
}

const restartMs = 1000;
const stopMsMax = 10_000;

interface Running {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
}

/** See the file comment. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #running = new Map<number, Running>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Nodes of which it was told that no process can be made. */
  readonly #missing = new Set<number>();
  #isStopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Process ids by node. */
  get pids(): readonly { readonly nodeId: number; readonly pid: number }[] {
    return [...this.#running].map(([nodeId, { child }]) => ({ nodeId, pid: child.pid ?? 0 }));
  }

  /** No node is started any more. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Starts every node. */
  start(): void {
    for (const node of this.#options.nodes) this.#start(node);
  }

  /** Asks all to stop, kills what has not after 10 s, resolves when all are gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const running = [...this.#running.values()];
    for (const { child } of running) child.kill('SIGTERM');
    const timer = setTimeout(() => {
      for (const { child } of running) child.kill('SIGKILL');
    }, stopMsMax);
    await Promise.all(running.map(({ exited }) => exited));
    clearTimeout(timer);
  }

  #start(node: NodeToRun): void {
    try {
      this.#spawn(node);
    } catch (error) {
      this.#notStarted(node, error);
    }
  }

  #spawn(node: NodeToRun): void {
    const log = openSync(node.logPath, 'a');
    const logBytes = fstatSync(log).size;
    // Standard input is a pipe that nobody writes to: it ends when this process does, and the node then stops.
    // Node.js flags of this process (a profiler, a heap limit) are for the nodes as well.
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv,
        this.#options.programPath,
        'node',
        '--config',
        node.configPath,
        '--stop-with-parent',
        '--json',
      ],
      {
        stdio: ['pipe', 'pipe', log],
        // Ctrl-C at the terminal is for this process, which stops the nodes in order.
        detached: true,
      },
    );
    closeSync(log);
    child.stdin?.on('error', () => undefined);
    const exited = new Promise<void>((resolve) => {
      child.once('spawn', () => this.#missing.delete(node.nodeId));
      child.once('exit', (code, signal) => {
        const lastWords = lastWordsOf(node.logPath, logBytes);
        const end = { code: code ?? undefined, signal: signal ?? undefined, lastWords };
        this.#exited(node, { pid: child.pid ?? 0, ...end });
        resolve();
      });
      child.once('error', (error) => {
        // A process that exists has an end of its own to be told of.
        if (child.pid === undefined) {
          this.#running.delete(node.nodeId);
          this.#notStarted(node, error);
        }
        resolve();
      });
    });
    this.#running.set(node.nodeId, { child, exited });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const ready = readyNodeOf(line);
      if (ready?.nodeId === node.nodeId) this.#options.onEvent({ event: 'nodeReady', node: ready });
    });
  }

  #exited(
    node: NodeToRun,
    end: Omit<Extract<NodeEvent, { readonly event: 'nodeExited' }>, 'event' | 'nodeId'>,
  ): void {
    this.#running.delete(node.nodeId);
    this.#options.onEvent({ event: 'nodeExited', nodeId: node.nodeId, ...end });
    this.#startLater(node);
  }

  #notStarted(node: NodeToRun, cause: unknown): void {
    if (!this.#missing.has(node.nodeId)) {
      this.#missing.add(node.nodeId);
      this.#options.onEvent({
        event: 'nodeNotStarted',
        nodeId: node.nodeId,
        error: notStartedError(node, cause),
      });
    }
    this.#startLater(node);
  }

  #startLater(node: NodeToRun): void {
    if (this.#isStopping || !this.#options.isRestarting) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#isStopping) this.#start(node);
    }, restartMs);
    this.#timers.add(timer);
  }
}

function notStartedError({ nodeId, logPath }: NodeToRun, cause: unknown): ClustorError {
  const isGone = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
  return isGone
    ? new ClustorError(
        'CLUSTOR_REPLICA_FILES_MISSING',
        `node ${nodeId} cannot be started: the folder of ${logPath} is gone`,
        { cause },
      )
    : new ClustorError(
        'CLUSTOR_NODE_UNREACHABLE',
        `node ${nodeId} cannot be started: ${messageOf(cause)}`,
        { cause },
      );
}

/** The node that a line of its output says is ready. Products print lines of their own, which are nothing to this process. */
function readyNodeOf(line: string): ReadyNode | undefined {
  if (!line.startsWith('{')) return undefined;
  let parsed: Partial<Record<keyof ReadyNode | 'event', unknown>>;
  try {
    parsed = JSON.parse(line) as typeof parsed;
  } catch {
    return undefined;
  }
  const { event, nodeId, pid, address, product } = parsed;
  if (event !== 'ready' || typeof nodeId !== 'number' || typeof pid !== 'number') return undefined;
  if (typeof address !== 'string' || typeof product !== 'object' || product === null)
    return undefined;
  return { nodeId, pid, address, product: product as ReadyNode['product'] };
}
