/** Follows the nodes of a local cluster while it starts and runs: whether all are ready, and whether waiting has an end. */
import { ClustorError } from '../base/errors.ts';
import { exitCodes } from './exit-codes.ts';
import type { NodeEvent, ReadyNode } from './supervisor.ts';

/** See the file comment. */
export class ClusterWatch {
  /** Resolves once every node is ready; one that stays dead is not waited for. */
  readonly allReady: Promise<'allReady'>;
  /** Rejects once no waiting helps: a node cannot start as it is configured, or none is left. */
  readonly hopeless: Promise<never>;
  readonly #nodeCount: number;
  readonly #isRestarting: boolean;
  readonly #ready = new Map<number, ReadyNode>();
  readonly #wasReady = new Set<number>();
  readonly #dead = new Set<number>();
  #announce: () => void = () => undefined;
  #giveUp: (error: ClustorError) => void = () => undefined;

  constructor(options: { readonly nodeCount: number; readonly isRestarting: boolean }) {
    this.#nodeCount = options.nodeCount;
    this.#isRestarting = options.isRestarting;
    this.allReady = new Promise((resolve) => {
      this.#announce = () => {
        resolve('allReady');
      };
    });
    this.hopeless = new Promise((_, reject) => {
      this.#giveUp = reject;
    });
    // Whoever waits hears of it; nobody needs to.
    this.hopeless.catch(() => undefined);
  }

  /** The nodes that are ready now, by id. */
  get nodes(): readonly ReadyNode[] {
    return [...this.#ready.values()].sort((left, right) => left.nodeId - right.nodeId);
  }

  /** Takes note of what happened to a node. */
  note(event: NodeEvent): void {
    if (event.event === 'nodeReady') {
      const { nodeId } = event.node;
      this.#ready.set(nodeId, event.node);
      this.#wasReady.add(nodeId);
      this.#dead.delete(nodeId);
    } else {
      this.#ready.delete(event.nodeId);
      if (!this.#isRestarting) this.#dead.add(event.nodeId);
      const error = this.#hopelessError(event);
      if (error !== undefined) this.#giveUp(error);
    }
    if (this.#ready.size > 0 && this.#ready.size + this.#dead.size === this.#nodeCount)
      this.#announce();
  }

  #hopelessError(
    event: Exclude<NodeEvent, { readonly event: 'nodeReady' }>,
  ): ClustorError | undefined {
    const { nodeId } = event;
    const why = event.event === 'nodeExited' ? endText(event) : event.error.message;
    const isMisused = event.event === 'nodeExited' && event.code === exitCodes.usage;
    if (isMisused && !this.#wasReady.has(nodeId))
      return new ClustorError('CLUSTOR_INVALID_ARGUMENT', `node ${nodeId} cannot start: ${why}`);
    if (this.#dead.size < this.#nodeCount) return undefined;
    return new ClustorError(
      'CLUSTOR_NODE_UNREACHABLE',
      `no node is left, and --no-restart starts none again; the last one was node ${nodeId}: ${why}`,
    );
  }
}

/** How a process ended, and its last words. */
export function endText({
  code,
  signal,
  lastWords,
}: Extract<NodeEvent, { readonly event: 'nodeExited' }>): string {
  const how = signal ?? `code ${code ?? 'unknown'}`;
  return lastWords === undefined || code === exitCodes.done ? how : `${how}, "${lastWords}"`;
}
