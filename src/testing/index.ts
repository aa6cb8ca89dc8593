/** The simulator: a product's state machine under crashes, torn writes, partitions and pauses, replayable from a seed; checkers of histories. */
export { installFaultPlan, type FaultHooks } from './fault-install.ts';
export {
  defaultFaultKinds,
  drawFaultPlan,
  emptyFaultCounts,
  type FaultAction,
  type FaultKind,
  type FaultPlanOptions,
  type FaultTarget,
  type PlannedFault,
} from './fault-plan.ts';
export { fileSystemConformance, type ConformanceCase } from './file-system-conformance.ts';
export {
  formatEvent,
  pairHistory,
  parseHistory,
  type HistoryEvent,
  type HistoryEventType,
  type HistoryInput,
  type HistoryOp,
  type HistoryOperation,
  type HistoryValue,
  type PairedHistory,
  type TimedOperation,
} from './history.ts';
export {
  describeVerdict,
  judgeHistoryFile,
  type HistoryModelName,
  type HistoryReport,
  type JudgeHistoryOptions,
} from './history-judge.ts';
export {
  HistoryRecorder,
  type HistoryRecorderOptions,
  type HistoryRequest,
} from './history-recorder.ts';
export {
  checkLinearizable,
  checkOperations,
  type LinearizabilityOptions,
  type LinearizabilityVerdict,
  type LinearizabilityViolation,
} from './linearizability.ts';
export {
  counterModel,
  createAppendModel,
  illegal,
  registerModel,
  type AppendState,
  type Model,
  type OperationFootprint,
  type RegisterState,
} from './linearizability-models.ts';
export {
  SimCluster,
  SimViolation,
  type SimClusterOptions,
  type TimelineEvent,
} from './sim-cluster.ts';
export { SimDisk, type DiskFailureKind, type KillPoint } from './sim-disk.ts';
export { openInspection, type DiskInspection } from './disk-inspection.ts';
export { SimFileSystem, type CrashKind } from './sim-file-system.ts';
export { RegisterMachine, type RegisterCommand, type RegisterResult } from './sim-machine.ts';
export {
  simulate,
  type SimulateFailure,
  type SimulateOptions,
  type SimulateProgress,
  type SimulateReport,
} from './simulate.ts';
export type { Finding, FindingKind } from './product/findings.ts';
export type {
  AcknowledgedAppend,
  Workload,
  WorkloadOutcome,
  WorkloadRandom,
  WorkloadRequest,
  WorkloadTurn,
} from './product/workload.ts';
export { runSimulation, type SimRunOptions, type SimRunReport } from './sim-run.ts';
export {
  LifeScope,
  SimScheduler,
  simEventKinds,
  simTask,
  type RunOptions,
  type SimTask,
} from './sim-scheduler.ts';
export { SimWorkload, type SimWorkloadOptions } from './sim-workload.ts';
export { SimWorld, type SimClientHost, type SimHost, type SimWorldOptions } from './sim-world.ts';
