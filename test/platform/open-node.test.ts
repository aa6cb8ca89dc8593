/** What a node is refused before anything is opened for it; what is open would keep its process alive. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, onTestFinished, test } from 'vitest';

import { clusterId, nodeId, partitionId } from '../../src/base/ids.ts';
import {
  initializeReplicas,
  openNode,
  planReplicas,
  type OpenNodeOptions,
} from '../../src/open-node.ts';
import { createDevelopmentCa, issueNodeCertificate } from '../../src/security/development-ca.ts';

test.each([
  ['listen', { listen: '127.0.0.1:70000' }, '127.0.0.1:70000'],
  ['listen', { listen: 'nonsense' }, 'nonsense'],
  ['advertise', { advertise: 'nonsense' }, 'nonsense'],
  ['advertise', { advertise: '10.0.0.1:0' }, '10.0.0.1:0'],
  // As a program without types may still say it.
  ['leaves', { merkleLeaves: 'yes' as 'none' }, 'yes'],
])(
  '%s that make no sense are refused before certificates are read',
  async (_name, changes, text) => {
    const opening = openNode({
      directory: '/nowhere',
      clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
      nodeId: 1,
      listen: '127.0.0.1:7400',
      certificates: { certificateFile: 'none', privateKeyFile: 'none', trustBundleFile: 'none' },
      createStateMachine: () => {
        throw new Error('never made');
      },
      ...changes,
    });

    await expect(opening).rejects.toMatchObject({
      code: 'CLUSTOR_INVALID_ARGUMENT',
      message: expect.stringContaining(`"${text}"`),
    });
  },
);

describe.runIf(existsSync('/dev/shm'))('a data directory in memory', () => {
  const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');

  async function prepared(): Promise<OpenNodeOptions> {
    const folder = mkdtempSync('/dev/shm/clustor-open-');
    onTestFinished(() => {
      rmSync(folder, { recursive: true, force: true });
    });
    const directory = join(folder, 'data');
    const voters = [{ nodeId: 1, address: '127.0.0.1:7400' }];
    const partitions = [planReplicas(partitionId('018c0d6c-9c11-7e9d-8000-86f5bb8c0002'), voters)];
    await initializeReplicas({ directory, clusterId: cluster, nodeId: 1, partitions });
    const made = { clusterId: cluster, wallMs: Date.now(), lifetimeMs: 3_600_000 };
    const authority = await createDevelopmentCa(made);
    const id = nodeId(1);
    const leaf = await issueNodeCertificate({ ...made, authority, nodeId: id, hosts: [] });
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    return {
      directory,
      clusterId: cluster,
      nodeId: 1,
      listen: '127.0.0.1:0',
      certificates: {
        certificateFile: file('certificate.pem', leaf.certificatePem),
        privateKeyFile: file('key.pem', leaf.privateKeyPem),
        trustBundleFile: file('ca.pem', authority.certificatePem),
      },
      createStateMachine: () => {
        throw new Error('never made');
      },
    };
  }

  test('is refused unless it is asked for, and nothing is left open', async () => {
    const options = await prepared();

    // Twice: what the first refusal left open would be in the way of the second.
    for (let times = 0; times < 2; times++) {
      await expect(openNode(options)).rejects.toMatchObject({
        code: 'CLUSTOR_DISK_UNSAFE',
        message: expect.stringContaining('is memory') as string,
      });
    }
    await expect(openNode({ ...options, diskPolicy: 'warn' })).rejects.toThrow('never made');
  });

  test('is used where it is asked for; the boot record says on what disk, and what syncs took there', async () => {
    const options = await prepared();
    const node = await openNode({
      ...options,
      diskPolicy: 'warn',
      createStateMachine: () => ({
        apply: () => ({ kind: 'ack' }),
        query: () => new Uint8Array(),
        async *snapshot() {},
        restore: () => Promise.resolve(),
      }),
    });
    const id = node.partitions[0]?.partitionId ?? '';
    await node.close();

    const path = join(options.directory, 'partitions', id, 'boot_record.json');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({
      scrubState: 'Healthy',
      disk: {
        verdict: 'Reject',
        facts: { fileSystem: 'tmpfs', probe: { samples: expect.any(Number) as number } },
        findings: expect.arrayContaining([
          expect.objectContaining({ verdict: 'Reject', text: expect.stringContaining('memory') }),
        ]) as object,
      },
    });
  });
});
