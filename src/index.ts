/** Open a node, host state machines; types and errors. */
export {
  ClustorError,
  isClustorError,
  type ClustorErrorOptions,
  type ErrorDetails,
} from './base/errors.ts';
export { errorCodes, type ErrorCode, type Outcome } from './base/error-codes.ts';
export { InvariantError } from './base/assert.ts';
export {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  type Brand,
  type ClusterId,
  type Incarnation,
  type LogIndex,
  type NodeId,
  type PartitionId,
  type ReplicaId,
  type Term,
} from './base/ids.ts';
export type { Configuration, Member, MemberRole } from './base/membership.ts';
export type { KeyContext, KeyProvider, WrappedKey } from './ports/key-provider.ts';
export {
  initializeReplicas,
  openNode,
  planReplicas,
  type EncryptionOption,
  type InitializeReplicasOptions,
  type OpenNodeOptions,
  type PlannedVoter,
} from './open-node.ts';
export type { DiskPolicy } from './platform/disk-admission.ts';
export { createKeyFile, openKeyFile, openKeyVariable } from './platform/key-files.ts';
export { openVaultKey, type VaultKeyOptions } from './platform/vault-key-provider.ts';
export type { CertificateFiles } from './platform/certificate-files.ts';
export {
  createDevelopmentCa,
  issueClientCertificate,
  issueNodeCertificate,
  type CertificateAuthority,
  type ClientCertificateOptions,
  type DevelopmentCaOptions,
  type IssuedCertificate,
  type IssueOptions,
  type NodeCertificateOptions,
} from './security/development-ca.ts';
export {
  silentObserver,
  type EventLevel,
  type ObservedEvent,
  type Observer,
} from './ports/observer.ts';
export type {
  Survivability,
  SurvivabilityPolicy,
  SurvivabilityVerdict,
} from './policy/survivability.ts';
export type { DiskSpace, FileSystem, IoWriterFault, IoWriterMode } from './ports/file-system.ts';
export type {
  ApplyContext,
  ApplyOutcome,
  EntryBatch,
  RetryableReason,
  StateMachine,
} from './ports/state-machine.ts';
export type { ClientRole } from './ports/transport.ts';
export type { PartitionPlan } from './runtime/bootstrap.ts';
export { defaultNodeLimits, type NodeLimits } from './runtime/limits.ts';
export type { AppendReceipt } from './runtime/local-append.ts';
export type {
  MemberToAdd,
  MembershipOutcome,
  VoterChange,
  VoterPlan,
} from './runtime/membership-desk.ts';
export type { ClustorNode } from './runtime/node.ts';
export type { AppendOptions, ChangeOptions, Partition, ReadOptions } from './runtime/partition.ts';
export type { Product, ProductContext, RunningProduct } from './runtime/product.ts';
export type { IdempotencyKey } from './runtime/session-keys.ts';
export type { SnapshotInfo, SnapshotStatus } from './runtime/snapshot-desk.ts';
export type {
  JointPhaseStatus,
  MemberStatus,
  NodeStatus,
  PartitionStatus,
} from './runtime/status.ts';
export type { CommittedEntry } from './runtime/subscription.ts';
export type { DiskPressure, DiskShortage } from './policy/disk-pressure.ts';
export type { DiskStatus } from './storage/disk-guard.ts';
export type { KeyEpochState } from './codec/key-ring-format.ts';
export type { KeyEpochStatus, KeyStatus, NodeKeys } from './storage/key-desk.ts';
export {
  defaultLogStoreLimits,
  type LogStoreLimits,
  type LogStoreStatistics,
  type ScrubStatistics,
} from './storage/log-store-types.ts';
export type { IoWriterStatus } from './storage/io-writer-desk.ts';
export type { IoWriterAlarm, IoWriterCause } from './policy/io-writer-mode.ts';
export type { LatencyWindow } from './policy/latency-windows.ts';
export type { NodeScrub, ScrubStatus } from './storage/scrubber.ts';
