/** Log lines are events with fields; whoever runs the product decides what becomes of them. */

/** Severity of an event. @public */
export type EventLevel = 'debug' | 'info' | 'warn' | 'error';

/** One thing that happened. @public */
export interface ObservedEvent {
  readonly level: EventLevel;
  /** Stable name in camelCase: `leaderElected`, `connectionRefused`. */
  readonly kind: string;
  /** Facts, ready for JSON. */
  readonly fields: Readonly<Record<string, string | number | boolean | undefined>>;
}

/** Receives events; must not throw and must not block. @public */
export interface Observer {
  emit(event: ObservedEvent): void;
}

/** An observer that drops everything. @public */
export const silentObserver: Observer = {
  emit(): void {
    // Nothing listens.
  },
};
