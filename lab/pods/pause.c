/* What holds a pod's namespaces while its containers come and go: it sleeps. */
#include <unistd.h>

int main(void)
{
    for (;;)
        pause();
}
