/** Whether the keys of a data directory open with the key-encryption key that a node would be given. */
import { messageOf } from '../base/errors.ts';
import { clusterId, nodeId } from '../base/ids.ts';
import { journalEncryption } from '../open-node.ts';
import { openNodeFileSystem } from '../platform/node-file-system.ts';
import type { DiskFinding } from '../policy/disk-hygiene.ts';
import { JournalKeys } from '../storage/journal-keys.ts';
import { walFolder } from '../storage/recovery.ts';
import { keyProviderOf, type KeyOptions } from './key-options.ts';
import type { NodeConfig } from './node-config.ts';

/** Tries the keys as a node that starts does; nothing is written. */
export async function keyFinding(
  config: NodeConfig,
  { path, options }: { readonly path: string; readonly options: KeyOptions },
): Promise<DiskFinding> {
  const fileSystem = await openNodeFileSystem({ mode: 'Blocking' });
  try {
    const provider = await keyProviderOf(options, { encryption: config.encryption, path });
    const keys = await JournalKeys.open({
      fileSystem,
      folder: walFolder(config.dataDirectory),
      clusterId: clusterId(config.clusterId),
      nodeId: nodeId(config.nodeId),
      encryption: journalEncryption(
        provider === undefined ? 'none' : { keyProvider: provider, rotateAfterMs: 'never' },
      ),
    });
    const epoch = keys.ring?.newestEpoch;
    keys.close();
    if (provider === undefined)
      return {
        finding: 'Keys',
        verdict: 'Warn',
        text: 'nothing is encrypted, and no key is named',
        advice: 'Name a key-encryption key as docs/guide/encryption.md says, or leave it so.',
      };
    const text =
      epoch === undefined
        ? 'the key can be had; the next start makes keys under it'
        : `the keys open, up to epoch ${epoch}`;
    return { finding: 'Keys', verdict: 'Allow', text, advice: 'Nothing to do.' };
  } catch (error) {
    return {
      finding: 'Keys',
      verdict: 'Reject',
      text: `the keys do not open: ${messageOf(error)}`,
      advice:
        'Name the right key-encryption key, in the configuration or as the options of `clustor node` do; without it no entry can be read.',
    };
  } finally {
    await fileSystem.shutDown();
  }
}
