//! Compiles policy sets beside the requests.

use std::sync::{Arc, Mutex, PoisonError};

use pdp::{Bundle, CompileErrors, Compiler, Snapshot};

/// A compiler that is shared: whoever keeps one compiles sets that differ little from each other in little
/// time, and in whatever time without keeping a request from being answered.
#[derive(Clone, Default)]
pub struct SharedCompiler(Arc<Mutex<Compiler>>);

impl SharedCompiler {
    /// Those for what earlier builds decided by sets that do not compile any more ([`Compiler::of_before`]).
    pub fn of_before() -> [Self; 2] {
        Compiler::of_before().map(|compiler| Self(Arc::new(Mutex::new(compiler))))
    }

    /// Compiles `bundle`, on a thread that may be busy for long. One at a time.
    pub async fn compile(&self, bundle: Bundle) -> Result<Arc<Snapshot>, CompileErrors> {
        let compiler = self.0.clone();
        let work = move || {
            // What is kept is whole at any moment, whoever panicked: a set that is begun forgets the last one
            // that did not end.
            let mut compiler = compiler.lock().unwrap_or_else(PoisonError::into_inner);
            compiler.compile(bundle).map(Arc::new)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
