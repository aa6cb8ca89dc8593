/** Runs the node processes of a local cluster: starts them, restarts what dies, stops them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

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
    };

/** How a node process is started. */
export interface NodeToRun {
  readonly nodeId: number;
  readonly configPath: string;
  readonly logPath: string;
}

/** Options of {@link Supervisor}. */
export interface SupervisorOptions {
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
  #isStopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Process ids by node. */
  get pids(): readonly { readonly nodeId: number; readonly pid: number }[] {
    return [...this.#running].map(([nodeId, { child }]) => ({ nodeId, pid: child.pid ?? 0 }));
  }

  /** Starts every node. */
  start(): void {
    for (const node of this.#options.nodes) this.#spawn(node);
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

  #spawn(node: NodeToRun): void {
    const log = openSync(node.logPath, 'a');
    const program = fileURLToPath(new URL('./main.js', import.meta.url));
    // Standard input is a pipe that nobody writes to: it ends when this process does, and the node then stops.
    // Node.js flags of this process (a profiler, a heap limit) are for the nodes as well.
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv,
        program,
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
      child.once('exit', (code, signal) => {
        this.#exited(node, child, { code: code ?? undefined, signal: signal ?? undefined });
        resolve();
      });
      child.once('error', () => {
        resolve();
      });
    });
    this.#running.set(node.nodeId, { child, exited });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const ready = parseReady(line);
      if (ready !== undefined) this.#options.onEvent({ event: 'nodeReady', node: ready });
    });
  }

  #exited(
    node: NodeToRun,
    child: ChildProcess,
    end: { readonly code: number | undefined; readonly signal: string | undefined },
  ): void {
    this.#running.delete(node.nodeId);
    this.#options.onEvent({
      event: 'nodeExited',
      nodeId: node.nodeId,
      pid: child.pid ?? 0,
      ...end,
    });
    if (this.#isStopping || !this.#options.isRestarting) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#isStopping) this.#spawn(node);
    }, restartMs);
    this.#timers.add(timer);
  }
}

function parseReady(line: string): ReadyNode | undefined {
  if (!line.startsWith('{')) return undefined;
  const parsed = JSON.parse(line) as ReadyNode & { readonly event?: string };
  return parsed.event === 'ready'
    ? { nodeId: parsed.nodeId, pid: parsed.pid, address: parsed.address, product: parsed.product }
    : undefined;
}
