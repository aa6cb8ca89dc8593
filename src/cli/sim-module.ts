/** A user's state machine and workload for simulated runs, from a module of theirs. */
import { ClustorError } from '../base/errors.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { Workload } from '../testing/product/workload.ts';
import { importUserModule } from './user-module.ts';

/** What the module exports. */
export interface SimModule {
  readonly createStateMachine: () => StateMachine;
  readonly workload: Workload;
}

/** Loads the module. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export async function loadSimModule(specifier: string): Promise<SimModule> {
  const module = (await importUserModule(specifier, 'the module')) as Partial<SimModule>;
  const { createStateMachine, workload } = module;
  if (typeof createStateMachine !== 'function' || typeof workload?.next !== 'function')
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the module ${specifier} must export the function createStateMachine and the object workload with a function next`,
    );
  return { createStateMachine, workload };
}
