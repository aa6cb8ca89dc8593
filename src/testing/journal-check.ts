/**
 * Whether what the ledger on a simulated disk says to be durable can be read in its journal, as a power loss at the moment of the
 * look would leave both: every entry that is covered, whole, or a good snapshot in its place (KER-4, specification §5.3).
 *
 * A look is a copy of the synced layer, taken at once; it is read between two events, with a virtual time of its own, so runs are
 * what they would be without it. A disk on which something was damaged on purpose is not looked at.
 */
import { isClustorError, messageOf } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import { createPrng } from '../base/prng.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import { ledgerFileName } from '../storage/durability-ledger.ts';
import { JournalKeys } from '../storage/journal-keys.ts';
import type { DirectoryPlace } from '../storage/journal-walk.ts';
import { replayLedger } from '../storage/ledger-replay.ts';
import { namedReplicaOf, walFolder } from '../storage/recovery.ts';
import { verifyDirectory } from '../storage/verify-directory.ts';
import { openInspection, type DiskInspection } from './disk-inspection.ts';
import type { FaultAtlas } from './fault-atlas.ts';
import { SimViolation, type SimCluster } from './sim-cluster.ts';
import type { SimEncryption } from './sim-encryption.ts';
import { SimEntropy } from './sim-entropy.ts';
import type { SimWorld } from './sim-world.ts';

/** What the looks need. */
export interface JournalChecksOptions {
  readonly clusterId: ClusterId;
  readonly encryption: SimEncryption | undefined;
  /** Knows on which disks something was damaged on purpose. */
  readonly atlas: FaultAtlas;
  readonly drainMicrotasks: () => Promise<void>;
}

/** Rows of damage that are told. */
const rowsTold = 5;

interface Look extends DiskInspection {
  readonly nodeId: NodeId;
}

/** See the file comment. */
export class JournalChecks {
  readonly #options: JournalChecksOptions;
  readonly #world: SimWorld;
  #due: Look[] = [];
  /** Directories that were read and found whole. */
  count = 0;

  /** Looks at the disk of each life that ends. */
  constructor(cluster: SimCluster, options: JournalChecksOptions) {
    this.#options = options;
    this.#world = cluster.world;
    cluster.onLifeEnded((nodeId) => {
      this.#look(nodeId);
    });
  }

  /** Looks at all disks and reads the copies. @throws SimViolation. */
  async all(): Promise<void> {
    for (const nodeId of this.#world.nodeIds) this.#look(nodeId);
    await this.run();
  }

  /** Reads the copies that were made. @throws SimViolation. */
  async run(): Promise<void> {
    if (this.#due.length === 0) return;
    const looks = this.#due;
    this.#due = [];
    for (const look of looks) {
      const found = await this.#settled(look, this.#read(look));
      if (found === undefined) continue;
      const what = `node ${look.nodeId}: the ledger is not within the journal: ${found}`;
      throw new SimViolation(what, this.#world.nowMs);
    }
  }

  /** Takes the copy of a disk as it is now. */
  #look(nodeId: NodeId): void {
    if (!this.#options.atlas.isNodeDamaged(nodeId))
      this.#due.push({ nodeId, ...openInspection(this.#world.disk(nodeId)) });
  }

  async #read({ nodeId, fileSystem }: Look): Promise<string | undefined> {
    const { encryption } = this.#options;
    const place: DirectoryPlace = {
      directory: '/data',
      fileSystem,
      encryption: encryption?.of(nodeId, new SimEntropy(createPrng(1))),
    };
    try {
      const { findings, partitions } = await verifyDirectory(place, nodeCryptography);
      this.count++;
      // A replica that was replaced, or is being so, is in doubt for good; what it has is there nevertheless.
      const doubts = new Set(partitions.map(({ doubt }) => `in doubt: ${doubt ?? ''}`));
      const damage = findings.filter(
        ({ severity, what }) => severity === 'damage' && !doubts.has(what),
      );
      if (damage.length === 0) return undefined;
      const told = damage.slice(0, rowsTold).map(({ where, what }) => `${where}: ${what}`);
      return `${told.join('; ')}${damage.length > rowsTold ? `; ${damage.length} in all` : ''}`;
    } catch (error) {
      if (!isClustorError(error, 'CLUSTOR_NOT_INITIALIZED')) return messageOf(error);
      return (await this.#isNew(place, nodeId)) ? undefined : messageOf(error);
    }
  }

  /** Without a registry a machine is a spare one on which no replica was made, or the first one is being made. */
  async #isNew(place: DirectoryPlace, nodeId: NodeId): Promise<boolean> {
    const { fileSystem, directory, encryption } = place;
    const folder = walFolder(directory);
    const names = await fileSystem.listDirectory(folder);
    if (!names.includes(ledgerFileName))
      return (await fileSystem.listDirectory(`${directory}/partitions`)).length === 0;
    const { clusterId } = this.#options;
    const keys = await JournalKeys.open({ fileSystem, folder, clusterId, nodeId, encryption });
    try {
      const path = `${folder}/${ledgerFileName}`;
      const { image, fault } = await replayLedger(fileSystem, path, { clusterId, nodeId, keys });
      return fault === undefined && namedReplicaOf(image) === undefined;
    } finally {
      keys.close();
    }
  }

  async #settled<T>({ scheduler }: Look, work: Promise<T>): Promise<T> {
    let isSettled = false;
    const note = (): void => {
      isSettled = true;
    };
    work.then(note, note);
    while (!isSettled)
      await scheduler.run({
        untilMs: scheduler.nowMs + 1_000,
        drainMicrotasks: this.#options.drainMicrotasks,
        isDone: () => isSettled,
      });
    return work;
  }
}
