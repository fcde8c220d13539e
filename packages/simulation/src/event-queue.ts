/** When something is to happen; the tie decides between two at the same time. */
export interface Due {
  readonly due: number;
  readonly tie: number;
}

export interface EventQueue<Event extends Due> {
  push(event: Event): void;
  /** Takes the earliest event out, if there is one. */
  pop(): Event | undefined;
}

/** A binary heap (Williams, 1964): a long run has many timers that wait and are then cancelled. */
export function createEventQueue<Event extends Due>(): EventQueue<Event> {
  const heap: Event[] = [];

  function sink(event: Event): void {
    let index = 0;
    for (;;) {
      let below = index * 2 + 1;
      let child = heap[below];
      const other = heap[below + 1];
      if (child !== undefined && other !== undefined && isBefore(other, child)) {
        child = other;
        below += 1;
      }
      if (child === undefined || !isBefore(child, event)) break;
      heap[index] = child;
      index = below;
    }
    heap[index] = event;
  }

  return {
    push(event) {
      let index = heap.length;
      while (index > 0) {
        const above = (index - 1) >> 1;
        const parent = heap[above];
        if (parent === undefined || !isBefore(event, parent)) break;
        heap[index] = parent;
        index = above;
      }
      heap[index] = event;
    },
    pop() {
      const first = heap[0];
      const last = heap.pop();
      if (last !== undefined && heap.length > 0) sink(last);
      return first;
    },
  };
}

function isBefore(one: Due, other: Due): boolean {
  return one.due < other.due || (one.due === other.due && one.tie < other.tie);
}
