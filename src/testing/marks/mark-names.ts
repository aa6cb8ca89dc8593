/**
 * Marks: branches of the product that runs seldom take and that carry its safety. A run counts how often it came by each, so
 * that a storm that no longer reaches one is noticed (`sim/corpus.ts` has seeds that reach them all).
 *
 * Nothing in the product knows of them. What is counted follows from what can be seen anyway: how states of replicas change,
 * what nodes log, what they found on their disks, which frames they send.
 */

/** Every mark with what has happened where it is counted. */
export const markTexts = {
  // Elections and terms.
  quorumUnheard: 'a leader heard no quorum for an election timeout and stepped down',
  leaderUnseated: 'a leader met a newer term',
  voteLost: 'a candidate was refused by a quorum',
  preVoteRefusedByStickiness: 'a voter refused a log as new as its own, because it hears a leader',
  refusedConnectionHint: "a pre-vote began because the leader's node refuses connections",
  transferCampaign: 'a replica campaigned because its leader asked it to',
  transferAborted: 'a transfer came to nothing, and the leader went on',
  // Replication.
  logTruncated: 'a follower dropped entries that another leader had left behind',
  lateCompletionDropped: 'the disk completed an append that had been truncated meanwhile',
  conflictNamesTerm: 'a refused append named a conflicting term of several entries',
  olderTermCommitted: 'entries of an older term were committed by the first one of the own term',
  commitBeforeOwnDisk: 'a leader committed what its own disk did not have yet',
  windowFull: 'a follower had as much in flight as it may',
  // Membership.
  jointEntered: 'a joint configuration came into force',
  rollbackAppended: 'a joint phase was left for the old configuration',
  exitByAnotherLeader: 'a joint phase was left by another leader than the one that entered it',
  leaderLeaves: 'a leader led under a configuration in which the new voters do without it',
  replicaCreated: 'a leader had a node create a replica',
  // Hibernation.
  leaderSlept: 'a leader went to sleep',
  sleepingLeaderWoken: 'a sleeping leader woke',
  sleeperWokenByCampaign: 'a sleeping follower woke while another replica asked for votes',
  sleeperLostItsLeader: "a sleeping follower lost the connection to its leader's node",
  // Storage.
  secondCopyRead: 'a ledger flush was read from its second copy',
  framesKeptBehindCoverage: 'a start kept whole frames that no ledger flush covered',
  nameLost: 'a power loss took the name of a file, whose directory had not been synced',
  ledgerWentBack: 'a leader noticed that a node had forgotten what it once acknowledged',
  stoppedByItsDisk: 'a node stopped because its disk had failed',
  quarantined: 'a replica could not read entries that it once acknowledged, and took no more part',
  repaired: 'a replica had every entry again, and took part again',
  writerModeChanged: 'the writer of a node went over to another mode',
  groupFsyncEntered: 'a partition began to hold its batches',
  // Snapshots.
  snapshotTaken: 'a replica took a snapshot',
  logCompacted: 'a log began behind a snapshot of its own replica',
  snapshotInstalled: 'a replica took in a snapshot that it had fetched',
  snapshotMissing: 'a log began behind a snapshot that could not be read',
  segmentRetired: 'a file of a journal went because no log needed it',
  // Requests.
  duplicateDropped: 'a keyed entry was committed a second time and had no second effect',
  readForwarded: 'a follower asked its leader for a read index',
  loopStalled: 'a node noticed that it had stood still',
} as const;

/** Name of a mark. */
export type MarkName = keyof typeof markTexts;

/** How often each was come by. */
export type MarkCounts = Readonly<Record<MarkName, number>>;

/** All names, in the order of the table. */
export const markNames: readonly MarkName[] = Object.keys(markTexts) as MarkName[];

/** All marks at 0. */
export function emptyMarks(): Record<MarkName, number> {
  return Object.fromEntries(markNames.map((name) => [name, 0])) as Record<MarkName, number>;
}
