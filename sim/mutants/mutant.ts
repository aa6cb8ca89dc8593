/**
 * What a mutant is: a change of one or a few texts of the sources that breaks exactly one rule, with the checks that must
 * notice. It is planted in a copy of the sources (`sim/mutants.ts`); the product itself has no switch that makes it wrong.
 */

/** A kind of check, cheapest first: named test files, random schedules of the core, simulated clusters. */
export type CheckKind = 'tests' | 'schedules' | 'simulator';

/** A wrong variant of the product. */
export interface Mutant {
  readonly name: string;
  /** The clause and what is done instead. */
  readonly breaks: string;
  /** The file that the edits change, unless they name another one. */
  readonly file: string;
  readonly edits: readonly Edit[];
  /** The check that is there for this mistake. A later one that catches it as well is no substitute to rely on. */
  readonly expected: CheckKind;
  /** Test files that are run first; empty where only schedules or the simulator can see it. */
  readonly tests: readonly string[];
  /** Seeds of the simulator at most, where the usual number is not enough or too many. */
  readonly seedsMax?: number;
}

/** A change of a text that stands exactly once in its file. */
export interface Edit {
  readonly file?: string;
  readonly find: string;
  readonly replace: string;
}
