/** Puts together what the nodes say of the cluster. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Description } from './client-node.ts';
import type { ClusterDescription, DescribedNode, DescribedPartition } from './client-options.ts';
import type { NodeDirectory } from './node-directory.ts';

type Claim = Description['partitions'][number];

/** How long others may still answer once one has: a node that hangs must not hide what the rest say. */
const patienceMs = 500;

/** Asks every node that is up; `done` gets what those said that answered, once, or an error when none did. */
export function askAllNodes(
  { directory, clock }: { readonly directory: NodeDirectory; readonly clock: Clock },
  done: (answers: readonly Description[] | ClustorError) => void,
): void {
  const nodes = [...directory.answering()];
  const answers: Description[] = [];
  let openCount = nodes.length;
  let isDone = false;
  let cancelTimer = (): void => undefined;
  const finish = (): void => {
    if (isDone) return;
    isDone = true;
    cancelTimer();
    done(answers.length > 0 ? answers : noAnswer());
  };
  const answered = (answer: Description | ClustorError): void => {
    if (isDone) return;
    openCount--;
    const isFirst = answers.length === 0;
    if (!(answer instanceof ClustorError)) answers.push(answer);
    if (openCount === 0) finish();
    else if (isFirst && answers.length > 0) cancelTimer = clock.setTimer(patienceMs, finish);
  };
  if (nodes.length === 0) finish();
  for (const node of nodes) node.describe(answered);
}

/** One view of what several nodes said. */
export function describeCluster(
  directory: NodeDirectory,
  answers: readonly Description[],
): ClusterDescription {
  const claims = new Map<PartitionId, { readonly fromNodeId: NodeId; readonly claim: Claim }[]>();
  for (const answer of answers) {
    for (const claim of answer.partitions) {
      const known = claims.get(claim.partitionId);
      if (known === undefined)
        claims.set(claim.partitionId, [{ fromNodeId: answer.nodeId, claim }]);
      else known.push({ fromNodeId: answer.nodeId, claim });
    }
  }
  return {
    nodes: describeNodes(directory, answers),
    partitions: [...claims.values()].map(describePartition),
  };
}

/** The newest term counts; within it a leader's own word counts more than hearsay. */
function describePartition(
  claims: readonly { readonly fromNodeId: NodeId; readonly claim: Claim }[],
): DescribedPartition {
  const term = claims.reduce(
    (highest, { claim }) => (claim.term > highest ? claim.term : highest),
    0 as Claim['term'],
  );
  const newest = claims.filter(({ claim }) => claim.term === term);
  const own = newest.find(({ claim }) => claim.isLeader);
  const heard = newest.find(({ claim }) => claim.leaderNodeId !== 0);
  const best = (own ?? heard ?? newest[0])?.claim;
  if (best === undefined)
    throw new ClustorError('CLUSTOR_INTERNAL', 'a partition is described by at least one node');
  const commitIndex = Math.max(...claims.map(({ claim }) => claim.commit)) as LogIndex;
  const { partitionId, members } = best;
  return {
    partitionId,
    term,
    commitIndex,
    members,
    leaderNodeId: own?.fromNodeId ?? heard?.claim.leaderNodeId,
  };
}

function describeNodes(
  directory: NodeDirectory,
  answers: readonly Description[],
): readonly DescribedNode[] {
  const nodes = new Map<NodeId, DescribedNode>();
  for (const node of directory.all()) {
    const { nodeId } = node;
    if (nodeId === undefined || nodes.get(nodeId)?.isAnswering === true) continue;
    const answer = answers.find((candidate) => candidate.nodeId === nodeId);
    const [address] = node.addresses;
    const text = address === undefined ? '' : addressText(address.host, address.port);
    nodes.set(nodeId, {
      nodeId,
      address: text,
      isAnswering: answer !== undefined,
      bootId: answer?.bootId,
    });
  }
  // Members that did not answer, or not yet: their nodes are part of the cluster all the same.
  for (const { partitions } of answers) {
    for (const { nodeId, address } of partitions.flatMap((claim) => claim.members)) {
      if (!nodes.has(nodeId))
        nodes.set(nodeId, { nodeId, address, isAnswering: false, bootId: undefined });
    }
  }
  return [...nodes.values()].sort((left, right) => left.nodeId - right.nodeId);
}

function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function noAnswer(): ClustorError {
  return new ClustorError('CLUSTOR_NO_LEADER', 'no node of the cluster can be reached');
}
