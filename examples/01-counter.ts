/** A replicated counter: three nodes in one process, over real sockets and disks. `node dist/examples/01-counter.js [folder]` */
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { createDevelopmentCa, initializeReplicas, issueNodeCertificate, openNode, partitionId, planReplicas, clusterId, nodeId, type StateMachine } from 'clustor';

/** Every entry is a decimal number to be added; the answer is the new sum. */
function counter(): StateMachine & { sum: number } {
  return {
    sum: 0,
    apply(batch) {
      const results = Array.from({ length: batch.length }, (_, position) => Buffer.from(String((this.sum += Number(Buffer.from(batch.payload(position)).toString())))));
      return { kind: 'ack', results };
    },
    query() { return Buffer.from(String(this.sum)); },
    async *snapshot() { yield Buffer.from(String(this.sum)); },
    async restore(chunks) { let digits = ''; for await (const chunk of chunks) digits += Buffer.from(chunk).toString(); this.sum = Number(digits); },
  };
}

const folder = process.argv[2] ?? (await mkdtemp('counter-'));
const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const voters = [1, 2, 3].map((id) => ({ nodeId: id, address: `127.0.0.1:${17400 + id}` }));
const partitions = [planReplicas(partitionId('018c0d6c-9c11-7e9d-8000-86f5bb8c0002'), voters)];
const wallMs = Date.now();
const authority = await createDevelopmentCa({ clusterId: cluster, wallMs, lifetimeMs: 86_400_000 });
const nodes = await Promise.all(voters.map(async ({ nodeId: id, address }) => {
  const directory = `${folder}/node-${id}`;
  await mkdir(directory, { recursive: true });
  const { certificatePem, privateKeyPem } = await issueNodeCertificate({ authority, clusterId: cluster, nodeId: nodeId(id), hosts: [], wallMs, lifetimeMs: 3_600_000 });
  const files = { certificateFile: `${directory}/certificate.pem`, privateKeyFile: `${directory}/key.pem`, trustBundleFile: `${directory}/ca.pem` };
  await Promise.all([writeFile(files.certificateFile, certificatePem), writeFile(files.privateKeyFile, privateKeyPem), writeFile(files.trustBundleFile, authority.certificatePem)]);
  await initializeReplicas({ directory: `${directory}/data`, clusterId: cluster, nodeId: id, partitions });
  return openNode({ directory: `${directory}/data`, clusterId: cluster, nodeId: id, listen: address, certificates: files, createStateMachine: counter, diskPolicy: 'warn' });
}));
const [first, second] = nodes.map((node) => node.partitions[0]);
const { index, result } = await first!.append(Buffer.from('40'));
await second!.append(Buffer.from('2'));
console.log(`index ${index}: ${Buffer.from(result!).toString()}, read on node 2: ${await second!.read((machine) => (machine as ReturnType<typeof counter>).sum)}`);
await Promise.all(nodes.map((node) => node.close()));
