// What few pages need, loaded when one does: IndexedDB as a storage, and locks where the browser has none.

/** A place for strings: `localStorage` is one. Answers may be promises, if what is asked is done in the order of asking. */
export interface QueueStorage {
  getItem(key: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(key: string, value: string): unknown;
  removeItem(key: string): unknown;
  /** The keys there are. Not needed where they are the properties of the object, as in `localStorage`. */
  allKeys?(): string[] | Promise<string[]>;
}

/** What is used of the Web Locks API. */
export interface QueueLocks {
  request<T>(name: string, options: { ifAvailable?: boolean }, callback: (lock: unknown) => Promise<T>): Promise<T>;
}

export const indexedDbStorage = (): QueueStorage => {
  let database: Promise<IDBDatabase> | undefined;
  const name = "tidegate";
  const run = async (mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest) => {
    const transaction = (
      await (database ??= new Promise((resolve, reject) => {
        const opening = indexedDB.open(name, 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore(name);
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = () => reject(opening.error);
      }))
    ).transaction(name, mode);
    return new Promise<any>((resolve, reject) => {
      const asked = ask(transaction.objectStore(name));
      // A full disk is found when the transaction ends.
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = () => reject(transaction.error);
    });
  };
  return {
    getItem: (key) => run("readonly", (store) => store.get(key)),
    setItem: (key, value) => run("readwrite", (store) => store.put(value, key)),
    removeItem: (key) => run("readwrite", (store) => store.delete(key)),
    allKeys: () => run("readonly", (store) => store.getAllKeys()),
  };
};

/** How long a tab that says nothing more keeps its lease: browsers run timers of hidden tabs once a minute. */
const LEASE = 150_000;

/** Locks by leases in `storage`, for a page without TLS, to which browsers give none. */
export const leases = (storage: QueueStorage): QueueLocks => ({
  async request(name, { ifAvailable }, callback) {
    const key = "lease:" + name;
    while (+((await storage.getItem(key)) ?? 0) > Date.now()) {
      if (ifAvailable) return callback(null);
      await new Promise((resume) => setTimeout(resume, 1000));
    }
    const renew = () => storage.setItem(key, "" + (Date.now() + LEASE));
    const end = () => storage.removeItem(key);
    await renew();
    const timer = setInterval(renew, LEASE / 5);
    globalThis.addEventListener?.("pagehide", end);
    try {
      return await callback(name);
    } finally {
      clearInterval(timer);
      await end();
    }
  },
});
