/**
 * The registry of a data directory and how replicas come into it (specification §1): their first records in the ledger, their
 * files, then one write of the registry that names them all.
 *
 * Crash story: until that write is durable the directory hosts none of them; records and files that nobody names are
 * overwritten by the next attempt.
 */
import { ClustorError } from '../base/errors.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { writeRegistry, type NodeRegistry } from './node-registry.ts';
import { writeReplicaFiles, type ReplicaToCreate } from './replica-files.ts';

/** Replicas whose first records share a flush, and whose files are written at the same time. */
const createdTogetherMax = 64;

/** See the file comment. */
export class ReplicaRegistry {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  #registry: NodeRegistry;
  #adding: Promise<void> = Promise.resolve();

  constructor(
    place: { readonly fileSystem: FileSystem; readonly directory: string },
    registry: NodeRegistry,
  ) {
    this.#fileSystem = place.fileSystem;
    this.#directory = place.directory;
    this.#registry = registry;
  }

  /** @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED` for a partition that is hosted, or named twice. */
  assertNew(replicas: readonly ReplicaToCreate[]): void {
    const known = new Set(this.#registry.replicas.map((row) => row.partitionId));
    for (const { partitionId } of replicas) {
      if (known.has(partitionId)) {
        throw new ClustorError(
          'CLUSTOR_ALREADY_INITIALIZED',
          `${this.#directory} already hosts a replica of partition ${partitionId}`,
        );
      }
      known.add(partitionId);
    }
  }

  /**
   * Names replicas, each in the place of an earlier life, all or none. `record` makes the first records of some of them
   * durable. One call after the other: each writes the whole registry.
   */
  add(
    replicas: readonly ReplicaToCreate[],
    record: (together: readonly ReplicaToCreate[]) => Promise<void>,
  ): Promise<void> {
    const added = this.#adding.then(() => this.#addNow(replicas, record));
    this.#adding = added.catch(() => undefined);
    return added;
  }

  /** Resolves when nothing is being named: once no record becomes durable any more, nothing is written behind that. */
  async changed(): Promise<void> {
    await this.#adding;
  }

  async #addNow(
    replicas: readonly ReplicaToCreate[],
    record: (together: readonly ReplicaToCreate[]) => Promise<void>,
  ): Promise<void> {
    for (let from = 0; from < replicas.length; from += createdTogetherMax) {
      const together = replicas.slice(from, from + createdTogetherMax);
      await record(together);
      await Promise.all(
        together.map((replica) => writeReplicaFiles(this.#fileSystem, this.#directory, replica)),
      );
    }
    // Where that fails nobody is named here, and the caller may try again.
    const registry = withReplicas(this.#registry, replicas);
    await writeRegistry(this.#fileSystem, this.#directory, registry);
    this.#registry = registry;
  }
}

function withReplicas(registry: NodeRegistry, replicas: readonly ReplicaToCreate[]): NodeRegistry {
  const replaced = new Set(replicas.map(({ partitionId }) => partitionId));
  const others = registry.replicas.filter((row) => !replaced.has(row.partitionId));
  const rows = replicas.map(({ partitionId, replicaId, incarnation }) => ({
    partitionId,
    replicaId,
    incarnation,
  }));
  return { ...registry, replicas: [...others, ...rows] };
}
