/**
 * Encryption of a simulated cluster: the real cipher, watched for nonces that come twice over all lives of all machines, and a
 * KEK for each node that is the same in all its lives.
 */
import { utf8Encode } from '../base/bytes.ts';
import { isClustorError, messageOf } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import { forkPrng, nextBetween, pick, type PrngState } from '../base/prng.ts';
import type { Entropy } from '../ports/entropy.ts';
import { LocalKeyProvider } from '../security/local-key-provider.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import type { JournalEncryption } from '../storage/key-ring.ts';
import { SealWatch } from './seal-watch.ts';
import type { SimCluster } from './sim-cluster.ts';
import type { SimWorld } from './sim-world.ts';

/** Whose keys are changed, and for how long. */
export interface KeyChanges {
  readonly world: SimWorld;
  readonly cluster: SimCluster;
  readonly isOver: () => boolean;
  readonly violated: (message: string) => void;
}

/** See the file comment. */
export class SimEncryption {
  readonly watch: SealWatch;
  /** Changes of keys that were acknowledged. */
  rotations = 0;

  /** `violated` is told of a nonce that came twice, and of text that its tag does not cover. */
  constructor(violated: (message: string) => void) {
    this.watch = new SealWatch(nodeCryptography, violated);
  }

  /** What one life of a node encrypts with. */
  of(nodeId: NodeId, entropy: Entropy): JournalEncryption {
    const cryptography = this.watch;
    const salt = utf8Encode(`kek of node ${nodeId}`);
    const kek = nodeCryptography.hkdfSha256({ key: salt, salt, info: salt });
    const keks = new Map([['kek-1', kek]]);
    const name = `the simulated KEK of node ${nodeId}`;
    return {
      cryptography,
      keyProvider: new LocalKeyProvider({ name, keks, cryptography, entropy }),
    };
  }

  /** Lets an operator change the keys of a node now and then. */
  changeKeys(changes: KeyChanges): void {
    this.#changeLater(changes, forkPrng(changes.world.random, 'keys'));
  }

  #changeLater(changes: KeyChanges, random: PrngState): void {
    const { world, cluster, isOver, violated } = changes;
    world.after(nextBetween(random, 500, 6_000), () => {
      if (isOver()) return;
      const node = cluster.node(pick(random, world.nodeIds));
      node?.keys.rotate().then(
        () => {
          this.rotations++;
        },
        (error: unknown) => {
          if (!isClustorError(error) || error.code === 'CLUSTOR_INTERNAL')
            violated(`a change of keys was answered with ${messageOf(error)}`);
        },
      );
      this.#changeLater(changes, random);
    });
  }
}
